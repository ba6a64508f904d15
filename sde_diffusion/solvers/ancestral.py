"""Ancestral sampling with any share of noise: DDPM at eta = 1, DDIM at eta = 0."""

from __future__ import annotations

from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.noise import Noise
from sde_diffusion.reverse import Reverse
from sde_diffusion.solvers.base import StepSolver


class Ancestral(StepSolver[None]):
    """x_s = alpha_s D + d (x_t - alpha_t D) / sigma_t + u z, u^2 + d^2 = sigma_s^2.

    u = eta sigma_s / sigma_t sqrt(sigma_t^2 - (alpha_t / alpha_s)^2 sigma_s^2)
    (DDIM, arXiv:2010.02502, eq. 12 and 16).

    Args:
        eta: 0 <= eta <= 1.
    """

    order = 1

    def __init__(self, eta: float = 1.0) -> None:
        if not 0 <= eta <= 1:
            raise InputError(f"solver.eta={eta}: give 0 <= eta <= 1")
        self.eta = eta
        self.stochastic = eta > 0

    def step(
        self, reverse: Reverse, x: Tensor, t: Tensor, s: Tensor, state: None, noise: Noise
    ) -> tuple[Tensor, None]:
        sde = reverse.sde
        alpha_t, sigma_t, alpha_s, sigma_s = sde.alpha(t), sde.sigma(t), sde.alpha(s), sde.sigma(s)
        up2 = (sigma_s / sigma_t) ** 2 * (sigma_t**2 - (alpha_t / alpha_s * sigma_s) ** 2)
        up2 = self.eta**2 * up2
        ratio = (sigma_s**2 - up2).sqrt() / sigma_t
        x_s = ratio * x + (alpha_s - ratio * alpha_t) * reverse.denoise(x, t)
        if self.stochastic:
            x_s = x_s + up2.sqrt() * noise.normal(t, s)
        return x_s, None
