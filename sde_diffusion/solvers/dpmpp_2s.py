"""DPM-Solver++(2S): second-order singlestep on the denoised image, midpoint in the log-SNR."""

from __future__ import annotations

import math

from torch import Tensor

from sde_diffusion.process.noise import Noise
from sde_diffusion.solvers.base import StepSolver, linear
from sde_diffusion.solvers.step import Ask, Step


class DPMpp2S(StepSolver[None]):
    """u = sigma_m / sigma_t x_t - alpha_m expm1(-h/2) D_t, x_s = sigma_s / sigma_t x_t - alpha_s
    expm1(-h) D(u, m).

    h = lam_s - lam_t, m the time half way in lam: two calls a step (DPM-Solver++,
    arXiv:2211.01095, algorithm 1, r = 1/2).
    """

    papers = ("2211.01095",)
    order = 2
    evaluations = 2

    def step(
        self, ask: Ask, x: Tensor, step: Step, state: None, noise: Noise
    ) -> tuple[Tensor, None]:
        a, b = step.a, step.b
        h = step.h
        c = ask.between(step, 0.5)
        denoised = ask.denoise(x, a)
        u = linear((c.sigma / a.sigma, x), (-c.alpha * math.expm1(-0.5 * h), denoised))
        denoised = ask.denoise(u, c)
        return linear((b.sigma / a.sigma, x), (-b.alpha * math.expm1(-h), denoised)), None
