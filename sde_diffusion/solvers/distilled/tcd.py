"""Strategic stochastic sampling: down the path beyond the next level, and noise back up to it."""

from __future__ import annotations

import copy
import math
from typing import Annotated

import torch
from torch import Tensor

from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.denoisers.timesteps import Timesteps
from sde_diffusion.errors import InputError
from sde_diffusion.process.noise import Noise
from sde_diffusion.solvers.base import Solver, StepSolver, linear
from sde_diffusion.solvers.step import Ask, Step
from sde_diffusion.system.ranges import Within


class TCD(StepSolver[None]):
    """y_s = D + r_u / r_t (y_t - D) + sqrt(r_s^2 - r_u^2) z in y = x / alpha, r = sigma / alpha.

    (Zheng et al., arXiv:2402.19159, algorithm 2.) u is the level of number floor((1 - gamma) k_s)
    of the process that the network was distilled on; the last step goes to s itself, without z.

    Args:
        gamma: 0 draws no noise, 1 goes all the way down in every step (``eta`` of diffusers).
    """

    papers = ("2402.19159",)
    order = None
    asks_ends = "tcd"

    def __init__(self, gamma: Annotated[float, Within("0 <= gamma <= 1")] = 0.3) -> None:
        self.gamma = gamma
        self.stochastic = gamma > 0
        self._table: Timesteps | None = None

    def fitted(self, denoiser: Denoiser) -> Solver:
        fitted = copy.copy(self)
        fitted._table = denoiser.table
        return fitted

    def check(self, denoiser: Denoiser) -> None:
        if self._table is None:
            raise InputError(
                "solver: tcd steps between the numbers of its model's levels, which nothing here "
                "says; give solver=consistency"
            )

    def step(
        self, ask: Ask, x: Tensor, step: Step, state: None, noise: Noise
    ) -> tuple[Tensor, None]:
        a, b = step.a, step.b
        low = b.noise_level if step.last else self._below(b.noise_level)
        share = low / a.noise_level
        down = (b.alpha * (1 - share), ask.denoise(x, a)), (b.alpha * share / a.alpha, x)
        rest = b.noise_level**2 - low**2
        if step.last or rest <= 0:
            return linear(*down), None
        return linear(*down, (b.alpha * math.sqrt(rest), noise.normal(a.t, b.t))), None

    def _below(self, level: float) -> float:
        """The noise level of number floor((1 - gamma) k), k that of ``level``."""
        assert self._table is not None
        k = self._table.number(torch.tensor([level], dtype=torch.float64)).round().float()
        return float(self._table.level(torch.floor((1 - self.gamma) * k)))
