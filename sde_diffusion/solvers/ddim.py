"""DDIM, which is Euler's method for the probability flow in x / alpha against sigma / alpha."""

from __future__ import annotations

from torch import Tensor

from sde_diffusion.noise import Noise
from sde_diffusion.reverse import Reverse
from sde_diffusion.solvers.base import StepSolver


class DDIM(StepSolver[None]):
    """x_s = alpha_s D + sigma_s / sigma_t (x_t - alpha_t D) (Song et al., arXiv:2010.02502)."""

    order = 1

    def step(
        self, reverse: Reverse, x: Tensor, t: Tensor, s: Tensor, state: None, noise: Noise
    ) -> tuple[Tensor, None]:
        sde = reverse.sde
        denoised = reverse.denoise(x, t)
        ratio = sde.sigma(s) / sde.sigma(t)
        return ratio * x + (sde.alpha(s) - ratio * sde.alpha(t)) * denoised, None
