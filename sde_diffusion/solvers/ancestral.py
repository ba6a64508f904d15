"""Ancestral sampling with any share of noise: DDPM at eta = 1, DDIM at eta = 0."""

from __future__ import annotations

import math
from typing import Annotated

from torch import Tensor

from sde_diffusion.process.noise import Noise
from sde_diffusion.solvers.base import StepSolver, linear
from sde_diffusion.solvers.step import Ask, Step
from sde_diffusion.system.ranges import Within


class Ancestral(StepSolver[None]):
    """x_s = alpha_s D + d (x_t - alpha_t D) / sigma_t + u z, u^2 + d^2 = sigma_s^2.

    u = eta sigma_s / sigma_t sqrt(sigma_t^2 - (alpha_t / alpha_s)^2 sigma_s^2)
    (DDIM, arXiv:2010.02502, eq. 12 and 16).

    Args:
        eta: 0 <= eta <= 1.
    """

    papers = ("2010.02502",)
    order = 1

    def __init__(self, eta: Annotated[float, Within("0 <= eta <= 1")] = 1.0) -> None:
        self.eta = eta
        self.stochastic = eta > 0

    def step(
        self, ask: Ask, x: Tensor, step: Step, state: None, noise: Noise
    ) -> tuple[Tensor, None]:
        a, b = step.a, step.b
        up2 = (b.sigma / a.sigma) ** 2 * (a.sigma**2 - (a.alpha / b.alpha * b.sigma) ** 2)
        up2 = self.eta**2 * up2
        ratio = math.sqrt(b.sigma**2 - up2) / a.sigma
        terms = [(ratio, x), (b.alpha - ratio * a.alpha, ask.denoise(x, a))]
        if self.stochastic and not step.last:
            terms.append((math.sqrt(up2), noise.normal(a.t, b.t)))
        return linear(*terms), None
