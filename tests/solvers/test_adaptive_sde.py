"""The adaptive SDE solver: its law on every SDE, its path, and what it counts."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sde_diffusion import wrap
from sde_diffusion.denoisers.closed_form import GaussianDenoiser
from sde_diffusion.exact import marginal
from sde_diffusion.face.model import Model
from sde_diffusion.process.grids import Karras
from sde_diffusion.process.noise import RevealedPath, Seeds
from sde_diffusion.solvers.adaptive import adaptive_sde
from sde_diffusion.solvers.adaptive.adaptive_sde import AdaptiveSDE
from sde_diffusion.solvers.step import Ask
from tests.refusals import refused
from tests.solvers.conftest import MEAN, SDES, VARIANCE, mixture

F64 = torch.float64


@torch.no_grad()
def deviations(
    solver: AdaptiveSDE,
    sde: str,
    dtype: torch.dtype = F64,
    rows: int = 128,
    copies: int = 32,
    seed: int = 0,
) -> tuple[float, float]:
    """Largest deviation of a mode's mean and of its chi-square from the exact law, in standard
    errors of rows x copies draws."""
    process = SDES[sde]
    denoiser = GaussianDenoiser(VARIANCE.repeat(copies), MEAN.repeat(copies))
    times = Karras().times(process, 1)
    drawn = range(seed * rows, (seed + 1) * rows), denoiser.shape, F64
    noise, start = Seeds().batch(*drawn), Seeds().start(*drawn)
    first = marginal(process, times[0], denoiser.variance, denoiser.mean)
    x = (first.mean + first.variance.sqrt() * start).to(dtype)
    found = solver.solve(Ask(process, denoiser), x, times, noise)
    last = marginal(process, times[-1], VARIANCE, MEAN)
    z = (found.to(F64).reshape(-1, len(MEAN)) - last.mean) / last.variance.sqrt()
    mean = float(z.mean(0).abs().max()) * len(z) ** 0.5
    return mean, float((z.square().mean(0) - 1).abs().max()) * (len(z) / 2) ** 0.5


def check_the_law(sde: str, seed: int = 0, dtype: torch.dtype = F64) -> None:
    """Chi-square of 4,096 draws a mode within 5 standard errors (false alarm 5e-6 a run)."""
    mean, chi2 = deviations(AdaptiveSDE(rtol=0.005, atol=5e-4), sde, dtype, seed=seed)
    assert mean < 5
    assert chi2 < 5


@pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)
@pytest.mark.parametrize("sde", SDES)
def test_the_law_of_every_mode(sde: str, dtype: torch.dtype) -> None:
    check_the_law(sde, dtype=dtype)


@pytest.mark.parametrize("eta", [0.3, 2.0])
def test_the_law_with_less_and_more_noise(eta: float) -> None:
    mean, chi2 = deviations(AdaptiveSDE(0.005, 5e-4, eta), "vp")
    assert max(mean, chi2) < 5


class Redrawn(RevealedPath):
    """The buggy twin: the noise of a refused step is forgotten and drawn anew."""

    def advance(self, kept: Tensor) -> Tensor:
        super().advance(kept)
        self.clocks[1:] = math.inf
        return torch.ones(len(kept))


def test_noise_drawn_anew_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps tried long, so that many are refused: redrawing favours the calm paths."""
    solver = AdaptiveSDE(rtol=0.005, atol=5e-4)
    monkeypatch.setattr(adaptive_sde, "RevealedPath", Redrawn)
    assert deviations(solver, "edm", rows=2048, copies=1)[1] > 5


@torch.no_grad()
def test_refused_steps_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """One evaluation an attempt and one at the start; an accepted step moves the path on."""
    attempts: list[int] = []
    accepted: list[int] = []

    class Counted(RevealedPath):
        def advance(self, kept: Tensor) -> Tensor:
            attempts.append(len(kept))
            accepted.append(int(kept.sum()))
            return super().advance(kept)

    monkeypatch.setattr(adaptive_sde, "RevealedPath", Counted)
    denoiser, sde = mixture(), SDES["vp"]
    times = Karras().times(sde, 1)
    noise, start = (
        Seeds().batch(range(4), MEAN.shape, F64),
        Seeds().start(range(4), MEAN.shape, F64),
    )
    AdaptiveSDE().solve(Ask(sde, denoiser), sde.prior(start, times[0]), times, noise)
    assert denoiser.evaluations == 4 + sum(attempts)
    assert sum(accepted) < sum(attempts)
    assert attempts[0] == 4 > attempts[-1]  # those that have arrived are not asked about


@torch.no_grad()
def test_not_a_number_is_refused() -> None:
    sde = SDES["vp"]
    broken = GaussianDenoiser(torch.full((4,), math.nan, dtype=F64))
    times = Karras().times(sde, 1)
    noise = Seeds().batch([0], (4,), F64)
    with refused("denoiser", "noise level 80"):
        AdaptiveSDE().solve(Ask(sde, broken), noise.fresh(), times, noise)


@pytest.mark.parametrize("eta", [0.0, 5.0])
def test_eta_out_of_range_is_refused(eta: float) -> None:
    with refused("solver.eta="):
        AdaptiveSDE(eta=eta)


def narrow(ends: tuple[float, float]) -> Model:
    """Of N(0, 1/4) in two dimensions."""

    def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
        return x * 0.25 / (0.25 + sigma[:, None] ** 2)

    return wrap(denoiser, (2,), sigma_min=ends[1], sigma_max=ends[0])


@pytest.mark.parametrize("ends", [(1e4, 1e-4), (1e9, 1e-9)])
@pytest.mark.parametrize("longest", [AdaptiveSDE.longest, math.inf])
def test_the_law_over_any_range_of_levels(ends: tuple[float, float], longest: float) -> None:
    """The twin, whose steps have no longest, ends at its mean."""
    model, solver = narrow(ends), AdaptiveSDE()
    solver.longest = longest
    grid = Karras(sigma_min=ends[1], sigma_max=ends[0])
    x = model.sample(n=400, solver=solver, grid=grid, nfe=None, batch_size=400).x
    spread = float(x.double().std())
    assert (abs(spread - 0.5) < 0.06) == (longest < math.inf)


def test_noise_beyond_float64_is_no_fault_of_the_denoiser() -> None:
    model = narrow((1e9, 1e-9))
    grid = Karras(sigma_min=1e-9, sigma_max=1e9)
    with refused("solver__eta=4", "solver__eta=2.9 or less"):
        model.sample(n=1, solver=AdaptiveSDE(eta=4.0), grid=grid, nfe=None)
    assert model.sample(n=1, solver=AdaptiveSDE(eta=2.9), grid=grid, nfe=None).x.isfinite().all()
