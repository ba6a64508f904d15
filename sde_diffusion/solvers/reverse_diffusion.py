"""Reverse diffusion sampling: the forward chain's discretisation, reversed."""

from __future__ import annotations

import math

from torch import Tensor

from sde_diffusion.process.noise import Noise
from sde_diffusion.solvers.base import StepSolver, linear
from sde_diffusion.solvers.step import Ask, Step


class ReverseDiffusion(StepSolver[None]):
    """x_s = (2 - a) x_t + b^2 score + b z, for the forward step x_t = a x_s + b n.

    a = alpha_t / alpha_s, b^2 = sigma_t^2 - a^2 sigma_s^2 (arXiv:2011.13456, eq. 46). Taken from
    ratios of alpha in place of a table of betas, it is finite for any number of steps.
    """

    papers = ("2011.13456",)
    order = 1
    stochastic = True
    covariant = False

    def step(
        self, ask: Ask, x: Tensor, step: Step, state: None, noise: Noise
    ) -> tuple[Tensor, None]:
        at_t, at_s = step.a, step.b
        a = at_t.alpha / at_s.alpha
        b2 = at_t.sigma**2 - (a * at_s.sigma) ** 2
        terms = [(2 - a, x), (b2, ask.score(x, at_t))]
        if not step.last:
            terms.append((math.sqrt(b2), noise.normal(at_t.t, at_s.t)))
        return linear(*terms), None
