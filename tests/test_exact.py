"""The test bed itself: its law equals a closed form, an independent recursion, and samples."""

from __future__ import annotations

import pytest
import torch

from sde_diffusion.closed_form import GaussianDenoiser
from sde_diffusion.exact import law, marginal, natural_image_variances, relative_error
from sde_diffusion.grid import Karras
from sde_diffusion.noise import Seeds
from sde_diffusion.reverse import Reverse
from sde_diffusion.sde import EDM, VP
from sde_diffusion.solvers.ancestral import Ancestral
from sde_diffusion.solvers.ddim import DDIM
from sde_diffusion.solvers.heun import Heun
from sde_diffusion.solvers.torchsde_adaptive import TorchSDEAdaptive

VARIANCE = torch.tensor([1.0, 0.2, 0.01], dtype=torch.float64)
MEAN = torch.tensor([0.5, -1.0, 0.0], dtype=torch.float64)


def test_ddim_equals_a_scalar_recursion() -> None:
    times = Karras().times(EDM(), 12)
    gain = torch.ones_like(VARIANCE)
    for t, s in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
        gain = gain * (1 + (s - t) * t / (VARIANCE + t**2))
    found = law(DDIM(), EDM(), times, VARIANCE)
    assert torch.allclose(found.variance, gain**2 * (VARIANCE + times[0] ** 2), rtol=1e-12)


def test_ancestral_equals_a_scalar_recursion() -> None:
    times = Karras().times(EDM(), 12)
    variance = VARIANCE + times[0] ** 2
    steps = list(zip(times[:-1].tolist(), times[1:].tolist(), strict=True))
    for i, (t, s) in enumerate(steps):
        shrink = VARIANCE / (VARIANCE + t**2)
        up2 = s**2 * (t**2 - s**2) / t**2
        down = (s**2 - up2) ** 0.5 / t
        noise = 0.0 if i == len(steps) - 1 else up2  # the last step's noise is left out
        variance = (shrink + down * (1 - shrink)) ** 2 * variance + noise
    found = law(Ancestral(), EDM(), times, VARIANCE)
    assert torch.allclose(found.variance, variance, rtol=1e-12)


def test_law_is_what_samples_have() -> None:
    """20,000 samples; mean and variance of each mode within 5 standard errors."""
    sde, n = VP(), 20000
    times = Karras().times(sde, 8)
    found = law(Heun(), sde, times, VARIANCE, MEAN)
    start = marginal(sde, times[0], VARIANCE, MEAN)
    noise = Seeds().batch(range(n), (3,), torch.float64)
    with torch.no_grad():
        x = start.mean + start.variance.sqrt() * noise.fresh()
        x = Heun().solve(Reverse(sde, GaussianDenoiser(VARIANCE, MEAN)), x, times, noise)
    assert ((x.mean(0) - found.mean).abs() < 5 * (found.variance / n).sqrt()).all()
    assert ((x.var(0) / found.variance - 1).abs() < 5 * (2 / n) ** 0.5).all()


def test_the_stated_problem() -> None:
    variance = natural_image_variances()
    assert variance.shape == (192,)
    assert float(variance.mean()) == pytest.approx(0.25)
    assert float(variance[:64].sum() / variance[64:128].sum()) == pytest.approx(1 / 0.15)
    # Figures of the table of record, to the digits it prints.
    for nfe, known in ((4, 0.49), (10, 0.23), (100, 0.026)):
        error = relative_error(DDIM(), EDM(), Karras().times(EDM(), nfe), variance)
        assert error == pytest.approx(known, rel=0.02)


def test_what_is_no_linear_map_is_refused() -> None:
    with pytest.raises(ValueError, match="its own noise"):
        law(TorchSDEAdaptive(), EDM(), Karras().times(EDM(), 1), VARIANCE)
