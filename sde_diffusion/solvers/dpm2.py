"""DPM-Solver-2, singlestep: the midpoint rule in the half log-SNR."""

from __future__ import annotations

import math

from torch import Tensor

from sde_diffusion.process.noise import Noise
from sde_diffusion.solvers.base import StepSolver, linear
from sde_diffusion.solvers.step import Ask, Step


class DPM2(StepSolver[None]):
    """u = alpha_m / alpha_t x_t - sigma_m expm1(h/2) n_t, x_s = alpha_s / alpha_t x_t - sigma_s
    expm1(h) n(u, m).

    h = lam_s - lam_t, m the time half way in lam, n the predicted noise: two calls a step
    (arXiv:2206.00927, algorithm 1, r_1 = 1/2).
    """

    papers = ("2206.00927",)
    order = 2
    evaluations = 2

    def step(
        self, ask: Ask, x: Tensor, step: Step, state: None, noise: Noise
    ) -> tuple[Tensor, None]:
        a, b = step.a, step.b
        h = step.h
        c = ask.between(step, 0.5)
        # A residual is sigma / alpha times the noise.
        change_m = -c.sigma * math.expm1(0.5 * h) / a.noise_level
        change_s = -b.sigma * math.expm1(h) / c.noise_level
        u = linear((c.alpha / a.alpha, x), (change_m, ask.residual(x, a)))
        return linear((b.alpha / a.alpha, x), (change_s, ask.residual(u, c))), None
