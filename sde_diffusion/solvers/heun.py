"""Heun's method of EDM, with or without churn."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.noise import Noise
from sde_diffusion.reverse import Reverse
from sde_diffusion.solvers.base import StepSolver


@dataclass(frozen=True)
class HeunState:
    """Steps left, churn factor gamma of a step, highest time that churn may reach."""

    left: int
    gamma: float
    top: Tensor


class Heun(StepSolver[HeunState]):
    """y_s = y + (r_s - r_t) (d_t + d_s) / 2, y = x / alpha, r = sigma / alpha, d = (y - D) / r.

    Churn first adds noise up to r (1 + gamma), gamma = min(s_churn / n, sqrt(2) - 1), where
    s_tmin <= r <= s_tmax, never beyond the first level and not in the last step (EDM,
    arXiv:2206.00364, algorithms 1 and 2). The grid ends above zero: every step takes two calls.

    Args:
        s_churn: 0 is deterministic. s_tmin, s_tmax: noise levels that are churned.
        s_noise: standard deviation of the churned noise.
    """

    evaluations = 2

    def __init__(
        self,
        s_churn: float = 0.0,
        s_tmin: float = 0.0,
        s_tmax: float = math.inf,
        s_noise: float = 1.0,
    ) -> None:
        if not (s_churn >= 0 and s_noise >= 0 and s_tmin <= s_tmax):
            raise InputError(
                f"solver.s_churn={s_churn}, s_noise={s_noise}, s_tmin={s_tmin}, s_tmax={s_tmax}: "
                "give s_churn >= 0, s_noise >= 0 and s_tmin <= s_tmax"
            )
        self.s_churn, self.s_tmin, self.s_tmax, self.s_noise = s_churn, s_tmin, s_tmax, s_noise
        self.stochastic = s_churn > 0
        # Noise of another size than the flow removes leaves a law that is not the process's.
        self.order = None if self.stochastic and s_noise != 1 else 2

    def init(self, reverse: Reverse, x: Tensor, times: Tensor) -> HeunState:
        n = len(times) - 1
        return HeunState(n, min(self.s_churn / n, math.sqrt(2) - 1), times[0])

    def step(
        self,
        reverse: Reverse,
        x: Tensor,
        t: Tensor,
        s: Tensor,
        state: HeunState | None,
        noise: Noise,
    ) -> tuple[Tensor, HeunState]:
        assert state is not None
        sde = reverse.sde
        r = sde.noise_level(t)
        if state.gamma > 0 and state.left > 1 and self.s_tmin <= float(r) <= self.s_tmax:
            up = torch.minimum(r * (1 + state.gamma), sde.noise_level(state.top))
            added = (up**2 - r**2).clamp_min(0).sqrt()
            hat = sde.time_at(up)
            x = sde.alpha(hat) * (x / sde.alpha(t) + self.s_noise * added * noise.normal(t, s))
            t, r = hat, up
        y = x / sde.alpha(t)
        change = sde.noise_level(s) - r
        slope = (y - reverse.denoise(x, t)) / r
        euler = (y + change * slope) * sde.alpha(s)
        slope_s = (euler / sde.alpha(s) - reverse.denoise(euler, s)) / sde.noise_level(s)
        y_s = y + change * 0.5 * (slope + slope_s)
        return y_s * sde.alpha(s), replace(state, left=state.left - 1)
