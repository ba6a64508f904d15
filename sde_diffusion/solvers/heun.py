"""Heun's method of EDM, with or without churn."""

from __future__ import annotations

import math
from typing import Annotated

from torch import Tensor

from sde_diffusion.process.noise import Noise
from sde_diffusion.solvers.base import StepSolver, linear
from sde_diffusion.solvers.step import Ask, Step
from sde_diffusion.system.ranges import Within


class Heun(StepSolver[None]):
    """y_s = y + (r_s - r_t) (d_t + d_s) / 2, y = x / alpha, r = sigma / alpha, d = (y - D) / r.

    Churn first adds noise up to r (1 + gamma), gamma = min(s_churn / n, sqrt(2) - 1), where
    s_tmin <= r <= s_tmax, never beyond the first level and not in the last step (EDM,
    arXiv:2206.00364, algorithms 1 and 2). The grid ends above zero: every step takes two calls.

    Args:
        s_churn: 0 is deterministic. s_tmin, s_tmax: noise levels that are churned.
        s_noise: standard deviation of the churned noise.
    """

    papers = ("2206.00364",)
    evaluations = 2

    def __init__(
        self,
        s_churn: Annotated[float, Within("0 <= s_churn <= 1e6")] = 0.0,
        s_tmin: Annotated[float, Within("0 <= s_tmin <= s_tmax")] = 0.0,
        s_tmax: Annotated[float, Within("s_tmax <= inf")] = math.inf,
        s_noise: Annotated[float, Within("0 <= s_noise <= 10")] = 1.0,
    ) -> None:
        self.s_churn, self.s_tmin, self.s_tmax, self.s_noise = s_churn, s_tmin, s_tmax, s_noise
        self.stochastic = s_churn > 0
        # Noise of another size than the flow removes leaves a law that is not the process's.
        self.order = None if self.stochastic and s_noise != 1 else 2

    def step(
        self, ask: Ask, x: Tensor, step: Step, state: None, noise: Noise
    ) -> tuple[Tensor, None]:
        a, b = step.a, step.b
        gamma = min(self.s_churn / step.n, math.sqrt(2) - 1)
        if gamma > 0 and not step.last and self.s_tmin <= a.noise_level <= self.s_tmax:
            up = min(a.noise_level * (1 + gamma), ask.steps[0].a.noise_level)
            hat, added = ask.at_level(up), self.s_noise * math.sqrt(up**2 - a.noise_level**2)
            z = noise.normal(a.t, b.t)
            x = linear((hat.alpha / a.alpha, x), (hat.alpha * added, z))
            a = hat
        # A residual y - D is r d.
        change = b.alpha * (b.noise_level - a.noise_level)
        change_t, change_s = change / a.noise_level, change / b.noise_level
        r_d_t = ask.residual(x, a)
        euler = linear((b.alpha / a.alpha, x), (change_t, r_d_t))
        r_d_s = ask.residual(euler, b)
        x_s = linear((b.alpha / a.alpha, x), (0.5 * change_t, r_d_t), (0.5 * change_s, r_d_s))
        return x_s, None
