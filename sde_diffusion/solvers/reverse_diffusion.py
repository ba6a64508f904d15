"""Reverse diffusion sampling: the forward chain's discretisation, reversed."""

from __future__ import annotations

from torch import Tensor

from sde_diffusion.noise import Noise
from sde_diffusion.reverse import Reverse
from sde_diffusion.solvers.base import StepSolver


class ReverseDiffusion(StepSolver[None]):
    """x_s = (2 - a) x_t + b^2 score + b z, for the forward step x_t = a x_s + b n.

    a = alpha_t / alpha_s, b^2 = sigma_t^2 - a^2 sigma_s^2 (arXiv:2011.13456, eq. 46). Taken from
    ratios of alpha in place of a table of betas, it is finite for any number of steps.
    """

    order = 1
    stochastic = True

    def step(
        self, reverse: Reverse, x: Tensor, t: Tensor, s: Tensor, state: None, noise: Noise
    ) -> tuple[Tensor, None]:
        sde = reverse.sde
        a = sde.alpha(t) / sde.alpha(s)
        b2 = sde.sigma(t) ** 2 - (a * sde.sigma(s)) ** 2
        x_s = (2 - a) * x + b2 * reverse.score(x, t)
        return x_s + b2.sqrt() * noise.normal(t, s), None
