"""DDIM, which is Euler's method for the probability flow in x / alpha against sigma / alpha."""

from __future__ import annotations

from torch import Tensor

from sde_diffusion.process.noise import Noise
from sde_diffusion.solvers.base import StepSolver, linear
from sde_diffusion.solvers.step import Ask, Step


class DDIM(StepSolver[None]):
    """x_s = alpha_s D + sigma_s / sigma_t (x_t - alpha_t D) (Song et al., arXiv:2010.02502)."""

    papers = ("2010.02502",)
    order = 1

    def step(
        self, ask: Ask, x: Tensor, step: Step, state: None, noise: Noise
    ) -> tuple[Tensor, None]:
        a, b = step.a, step.b
        ratio = b.sigma / a.sigma
        return linear((ratio, x), (b.alpha - ratio * a.alpha, ask.denoise(x, a))), None
