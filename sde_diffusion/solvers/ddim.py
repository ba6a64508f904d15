"""DDIM, which is Euler's method for the probability flow in x / alpha against sigma / alpha."""

from __future__ import annotations

from torch import Tensor

from sde_diffusion.process.noise import Noise
from sde_diffusion.solvers.base import StepSolver, linear
from sde_diffusion.solvers.reverse import Reverse


class DDIM(StepSolver[None]):
    """x_s = alpha_s D + sigma_s / sigma_t (x_t - alpha_t D) (Song et al., arXiv:2010.02502)."""

    order = 1

    def step(
        self, reverse: Reverse, x: Tensor, t: Tensor, s: Tensor, state: None, noise: Noise
    ) -> tuple[Tensor, None]:
        a, b = reverse.at(t), reverse.at(s)
        ratio = b.sigma / a.sigma
        return linear((ratio, x), (b.alpha - ratio * a.alpha, reverse.denoise(x, t))), None
