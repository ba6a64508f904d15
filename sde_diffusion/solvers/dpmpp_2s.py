"""DPM-Solver++(2S): second-order singlestep on the denoised image, midpoint in the log-SNR."""

from __future__ import annotations

import math

from torch import Tensor

from sde_diffusion.process.noise import Noise
from sde_diffusion.solvers.base import StepSolver, linear
from sde_diffusion.solvers.reverse import Reverse


class DPMpp2S(StepSolver[None]):
    """u = sigma_m / sigma_t x_t - alpha_m expm1(-h/2) D_t, x_s = sigma_s / sigma_t x_t - alpha_s
    expm1(-h) D(u, m).

    h = lam_s - lam_t, m the time half way in lam: two calls a step (DPM-Solver++,
    arXiv:2211.01095, algorithm 1, r = 1/2).
    """

    order = 2
    evaluations = 2

    def step(
        self, reverse: Reverse, x: Tensor, t: Tensor, s: Tensor, state: None, noise: Noise
    ) -> tuple[Tensor, None]:
        a, b = reverse.at(t), reverse.at(s)
        h = b.lam - a.lam
        m = reverse.between(t, s, 0.5)
        c = reverse.at(m)
        denoised = reverse.denoise(x, t)
        u = linear((c.sigma / a.sigma, x), (-c.alpha * math.expm1(-0.5 * h), denoised))
        denoised = reverse.denoise(u, m)
        return linear((b.sigma / a.sigma, x), (-b.alpha * math.expm1(-h), denoised)), None
