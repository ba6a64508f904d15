"""The adaptive SDE solver: its law on every SDE, its path, and what it counts."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sde_diffusion.denoisers.closed_form import GaussianDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.exact import marginal
from sde_diffusion.process.grids import Karras
from sde_diffusion.process.noise import RevealedPath, Seeds
from sde_diffusion.solvers.adaptive import adaptive_sde
from sde_diffusion.solvers.adaptive.adaptive_sde import AdaptiveSDE
from sde_diffusion.solvers.step import Ask
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
    noise = Seeds().batch(range(seed * rows, (seed + 1) * rows), denoiser.shape, F64)
    first = marginal(process, times[0], denoiser.variance, denoiser.mean)
    x = (first.mean + first.variance.sqrt() * noise.fresh()).to(dtype)
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

    def at(self, clock: float) -> Tensor:
        if clock > self.clock[0]:
            del self.clock[1:], self.values[1:]
        return super().at(clock)


def test_noise_drawn_anew_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps tried long, so that many are refused: redrawing favours the calm paths."""
    solver = AdaptiveSDE(rtol=0.005, atol=5e-4)
    monkeypatch.setattr(adaptive_sde, "RevealedPath", Redrawn)
    assert deviations(solver, "edm", rows=2048, copies=1)[1] > 5


def test_a_revealed_path_is_brownian_in_any_order() -> None:
    """Three increments, the middle times asked last: covariance of 40,000 paths within 5 s.e."""
    path = RevealedPath(3, (40000,), 1.0)
    last, first, middle = path.at(4.0), path.at(1.5), path.at(2.5)
    z = torch.stack([first / 0.5**0.5, middle - first, (last - middle) / 1.5**0.5])
    covariance = z @ z.T / z.shape[1]
    assert float((covariance - torch.eye(3)).abs().max()) < 5 * math.sqrt(2 / z.shape[1])
    assert torch.equal(path.at(4.0), last)
    path.forget(2.5)
    assert torch.equal(path.at(2.5), middle)
    with pytest.raises(ValueError, match="forgotten"):
        path.at(1.5)


@torch.no_grad()
def test_refused_steps_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """One evaluation an attempt and one at the start; an accepted step moves the path on."""
    attempts: list[int] = []
    inner = adaptive_sde.increments

    def counted(paths: list[RevealedPath], rows: Tensor, start: Tensor, end: Tensor) -> Tensor:
        attempts.append(len(rows))
        return inner(paths, rows, start, end)

    accepted: list[float] = []
    forget = RevealedPath.forget
    monkeypatch.setattr(adaptive_sde, "increments", counted)
    monkeypatch.setattr(
        RevealedPath, "forget", lambda path, q: (accepted.append(q), forget(path, q))[1]
    )
    denoiser, sde = mixture(), SDES["vp"]
    times = Karras().times(sde, 1)
    noise = Seeds().batch(range(4), MEAN.shape, F64)
    AdaptiveSDE().solve(Ask(sde, denoiser), sde.prior(noise.fresh(), times[0]), times, noise)
    assert denoiser.evaluations == 4 + sum(attempts)
    assert 0 < len(accepted) < sum(attempts)


@torch.no_grad()
def test_not_a_number_is_refused() -> None:
    sde = SDES["vp"]
    broken = GaussianDenoiser(torch.full((4,), math.nan, dtype=F64))
    times = Karras().times(sde, 1)
    noise = Seeds().batch([0], (4,), F64)
    with pytest.raises(InputError, match=r"^denoiser: its answer at noise level 80 "):
        AdaptiveSDE().solve(Ask(sde, broken), noise.fresh(), times, noise)


@pytest.mark.parametrize("eta", [0.0, 5.0])
def test_eta_out_of_range_is_refused(eta: float) -> None:
    with pytest.raises(InputError, match=r"^solver\.eta="):
        AdaptiveSDE(eta=eta)
