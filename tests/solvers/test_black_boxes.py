"""Integrators that choose their own steps: what all of them refuse, and keep whatever the batch."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sde_diffusion.denoisers.function import FunctionDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.process.grids import Karras
from sde_diffusion.process.noise import Seeds
from sde_diffusion.solvers.adaptive.scipy import METHODS
from sde_diffusion.solvers.step import Ask
from tests.solvers.configs import NAMES, Case, title
from tests.solvers.conftest import MEAN, SDES, make, mixture

F64 = torch.float64
ADAPTIVE: list[Case] = [(name,) for name in NAMES if make(name)[0].adaptive]
ADAPTIVE += [("scipy", f"solver.method={method}") for method in METHODS]
ADAPTIVE += [("torchsde_adaptive", f"solver.method={method}") for method in ("euler", "milstein")]
ADAPTIVE += [("dopri", "solver.rtol=1e-4", "solver.atol=1e-4")]

each = pytest.mark.parametrize("case", ADAPTIVE, ids=title)

BROKEN: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "nan": lambda x, sigma: math.nan * x,
    "inf": lambda x, sigma: torch.full_like(x, math.inf),
    "nan below 1": lambda x, sigma: torch.where(sigma < 1, math.nan, x / (1 + sigma**2)),
}


def test_there_are_adaptive_solvers() -> None:
    names = {name for name, *_ in ADAPTIVE}
    assert {"dopri", "adaptive_sde", "scipy", "torchsde_adaptive"} <= names


@pytest.mark.parametrize("fault", BROKEN)
@each
@torch.no_grad()
def test_an_answer_that_is_not_finite_is_refused_where_it_was_given(case: Case, fault: str) -> None:
    """No tolerance is to blame, no step is short enough, and no image is made of it."""
    sde, denoiser = SDES["vp"], FunctionDenoiser(BROKEN[fault], (4,))
    times = Karras().times(sde, 1)
    noise = Seeds().batch([0, 1], (4,), F64)
    with pytest.raises(InputError, match=r"^denoiser: its answer at noise level ") as refusal:
        make(*case)[0].solve(Ask(sde, denoiser), noise.fresh(), times, noise)
    level = float(str(refusal.value).split()[6])
    assert level < 1 if fault == "nan below 1" else level == 80


@pytest.mark.parametrize("sde", ["subvp", "ve"])
@each
@torch.no_grad()
def test_a_sample_alone_costs_what_it_costs_in_a_batch(case: Case, sde: str) -> None:
    """And is the same: evaluations of a batch are the sum of its samples'."""
    solver, process = make(*case)[0], SDES[sde]
    times = Karras().times(process, 1)

    def run(seeds: list[int]) -> tuple[Tensor, int]:
        denoiser = mixture()
        start = Seeds().start(seeds, MEAN.shape, F64)
        noise = Seeds().batch([100 + k for k in seeds], MEAN.shape, F64)
        x = solver.solve(Ask(process, denoiser), process.prior(start, times[0]), times, noise)
        return x / process.alpha(times[-1]), denoiser.evaluations

    together, total = run([3, 4, 5])
    alone = [run([k]) for k in (3, 4, 5)]
    assert float((together - torch.cat([x for x, _ in alone])).abs().max()) < 1e-10
    assert total == sum(count for _, count in alone)
