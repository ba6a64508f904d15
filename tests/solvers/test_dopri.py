"""The requested endpoint error: kept on targets that its constants were not fitted to."""

from __future__ import annotations

import math
from functools import lru_cache

import pytest
import torch
from torch import Tensor

from sde_diffusion.data import Digits, to_float
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.denoisers.closed_form import GaussianDenoiser, MixtureDenoiser
from sde_diffusion.denoisers.function import FunctionDenoiser
from sde_diffusion.process.grids import Karras
from sde_diffusion.process.sde import EDM
from sde_diffusion.solvers.adaptive.dopri import DoPri, flow, local_error
from sde_diffusion.solvers.adaptive.dormand_prince import Slope, dormand_prince
from sde_diffusion.solvers.step import Ask
from tests.refusals import refused
from tests.solvers.conftest import SDES, Forbidden, gaussian

F64 = torch.float64
LEVELS = torch.tensor([80.0, 0.002], dtype=F64)


def moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    values, basis = torch.linalg.eigh(torch.cov(x.T))
    return x.mean(0), values.clamp_min(0) + 1e-5, basis


@lru_cache
def target(name: str) -> Denoiser:
    """The Gaussian of 8 x 8 digits, and a mixture with a component a class."""
    data = Digits().load()
    x = to_float(data.images).flatten(1).to(F64)
    assert data.labels is not None
    mean, variance, basis = moments(x)
    if name == "gaussian":
        return GaussianDenoiser(variance, mean, basis)
    parts = [moments(x[data.labels == k]) for k in range(10)]
    means, variances, bases = (torch.stack(part) for part in zip(*parts, strict=True))
    return MixtureDenoiser(torch.full((10,), 0.1, dtype=F64), means, variances, bases)


@lru_cache
@torch.no_grad()
def converged(name: str, rows: int = 100) -> tuple[Tensor, Tensor]:
    start = 80 * torch.randn(rows, 64, generator=torch.Generator().manual_seed(5), dtype=F64)
    return start, flow(Ask(EDM(), target(name)), start, LEVELS, 1e-10, "error=1e-10")


@pytest.mark.parametrize("error", [1e-1, 1e-2, 1e-3, 1e-4, 1e-5])
@pytest.mark.parametrize("name", ["gaussian", "mixture"])
@torch.no_grad()
def test_the_requested_endpoint_error(name: str, error: float) -> None:
    """95 % of samples within the request, the median no less than 0.02 of it."""
    start, exact = converged(name)
    found = DoPri(error).solve(Ask(EDM(), target(name)), start, LEVELS, Forbidden())
    ratio = (found - exact).square().mean(1).sqrt() / error
    assert float(ratio.quantile(0.95)) <= 1
    assert float(ratio.median()) >= 0.02


@pytest.mark.parametrize("sde", SDES)
@pytest.mark.parametrize("name", ["gaussian", "mixture"])
@torch.no_grad()
def test_the_requested_endpoint_error_on_every_sde(name: str, sde: str) -> None:
    """From the same start and end, within their rounding the same steps."""
    process, denoiser = SDES[sde], target(name)
    start, exact = converged(name)
    times = Karras().times(process, 1)
    before = denoiser.evaluations
    x = DoPri(1e-3).solve(
        Ask(process, denoiser), process.alpha(times[0]) * start, times, Forbidden()
    )
    ratio = (x / process.alpha(times[-1]) - exact).square().mean(1).sqrt() / 1e-3
    assert float(ratio.quantile(0.95)) <= 1
    assert float(ratio.median()) >= 0.02
    assert denoiser.evaluations - before < 100 * len(start)


@pytest.mark.parametrize("up", [False, True], ids=["down", "up"])
@torch.no_grad()
def test_a_request_far_beyond_the_fitted_ones(up: bool) -> None:
    """1e-8: kept, and not by far more than it takes; up, in units of the latent."""
    start, image = converged("gaussian")
    y, exact, unit = (image, start, 80.0) if up else (start, image, 1.0)
    levels = LEVELS.flip(0) if up else LEVELS
    found = flow(Ask(EDM(), target("gaussian")), y, levels, 1e-8, "error=1e-8")
    ratio = (found - exact).square().mean(1).sqrt() / unit / 1e-8
    assert float(ratio.max()) < 1
    assert float(ratio.median()) > 0.02


def test_the_reference_is_converged() -> None:
    start, found = converged("gaussian")
    denoiser = target("gaussian")
    assert isinstance(denoiser, GaussianDenoiser)
    assert float((found - denoiser.flow(start, *LEVELS)).abs().max()) < 1e-9


@torch.no_grad()
def test_rows_that_finish_at_other_times_do_not_meet() -> None:
    """A fast and a slow row together take the very steps that they take alone."""
    rates = torch.tensor([1.0, 40.0, 3.0], dtype=F64)
    asked: list[int] = []

    def run(chosen: list[int]) -> tuple[Tensor, int]:
        rate = rates[chosen]

        def field(rows: slice | Tensor) -> Slope:
            own = rate[rows]

            def slope(y: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
                asked.append(len(y))
                return own[:, None] * torch.cos(own * u)[:, None] * torch.ones_like(y), own > 0

            return slope

        asked.clear()
        y = torch.zeros(len(chosen), 2, dtype=F64)
        ends = torch.tensor([0.0, 1.0], dtype=F64)
        found = dormand_prince(field, y, ends, lambda e, *_: e.abs().amax(1) / 1e-8, 0.1, "x=1")
        return found, sum(asked)

    together, total = run([0, 1, 2])
    alone = [run([k]) for k in range(3)]
    assert torch.equal(together, torch.cat([found for found, _ in alone]))
    assert total == sum(count for _, count in alone)
    assert len({count for _, count in alone}) > 1
    assert torch.allclose(together[:, 0], torch.sin(rates), rtol=0, atol=1e-7)


@torch.no_grad()
def test_it_runs_either_way() -> None:
    """dy/du = y from 0 to 1 is e, and back again 1."""
    ends = torch.tensor([0.0, 1.0], dtype=F64)

    def run(y: Tensor, ends: Tensor) -> Tensor:
        return dormand_prince(
            lambda rows: lambda y, u: (y, u.isfinite()), y, ends,
            lambda e, *_: e.abs().amax(1) / 1e-10, 0.1, "x=1",
        )  # fmt: skip

    there = run(torch.ones(1, 1, dtype=F64), ends)
    assert float(there) == pytest.approx(math.e, abs=1e-8)
    assert float(run(there, ends.flip(0))) == pytest.approx(1, abs=1e-8)


def test_what_cannot_be_asked_for() -> None:
    for error in (0.0, -1.0, 1.0, math.nan):
        with refused("solver.error="):
            DoPri(error)
    with refused("solver.rtol=", "both"):
        DoPri(rtol=1e-3)


@torch.no_grad()
def test_what_a_dtype_cannot_resolve_is_refused_before_it_is_tried() -> None:
    denoiser = gaussian()
    single = Ask(EDM(), denoiser.float())
    with refused("solver.error=1e-06", "dtype=float64"):
        DoPri(1e-6).solve(single, 80 * torch.ones(1, 4), LEVELS, Forbidden())
    with refused("error=0.0001", "0.0005"):
        flow(single, torch.ones(1, 4), LEVELS.flip(0), 1e-4, "error=0.0001")
    with refused("solver.error=1e-15", "loosen it"):
        DoPri(1e-15).solve(single, 80 * torch.ones(1, 4, dtype=F64), LEVELS, Forbidden())
    assert denoiser.evaluations == 0


@torch.no_grad()
def test_a_denoiser_too_coarse_for_the_request_is_no_endless_loop() -> None:
    """Answers rounded to 2^-8: the error of a step falls with its length only, not its power."""
    coarse = FunctionDenoiser(
        lambda x, sigma: (256 * x / (1 + sigma**2)).round() / 256, (4,), 1e-9, math.inf
    )
    start = 80 * torch.randn(1, 4, generator=torch.Generator().manual_seed(0), dtype=F64)

    def slope(y: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        return y - coarse(y, u.exp()), u.isfinite()

    def size(error: Tensor, y: Tensor, y_new: Tensor, u: Tensor) -> Tensor:
        return error.square().mean(1).sqrt() / local_error(1e-9, u.exp())

    with refused("error=1e-09", "100 steps", "loosen it"):
        dormand_prince(lambda _: slope, start, LEVELS.log(), size, 0.1, "error=1e-09", most=100)
    assert coarse.evaluations == 601
    assert DoPri(0.1).solve(Ask(EDM(), coarse), start, LEVELS, Forbidden()).isfinite().all()
