"""Align Your Steps: published lists of noise levels, fitted to three models."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from sde_diffusion.denoisers.timesteps import Timesteps
from sde_diffusion.errors import InputError
from sde_diffusion.process.grids import TimeGrid
from sde_diffusion.process.sde import SDE
from sde_diffusion.process.timesteps import FlowShift
from sde_diffusion.system.ranges import OneOf

# Numbers of the process that Stable Diffusion was trained on, of ten steps and the last level.
NUMBERS = {
    "sd15": (999, 850, 736, 645, 545, 455, 343, 233, 124, 24, 0),
    "sdxl": (999, 845, 730, 587, 443, 310, 193, 116, 53, 13, 0),
}
SVD = (700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002)
STABLE = {"betas": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def published(model: str) -> list[float]:
    """The eleven levels, falling."""
    if model not in NUMBERS:
        return list(SVD)
    table = Timesteps(**STABLE)  # type: ignore[arg-type]  # of mixed types
    return table.sigmas[list(NUMBERS[model])].tolist()


class AYS(TimeGrid):
    """The levels of Align Your Steps (arXiv:2404.14507), then zero in the place of the last.

    Ten evaluations walk the published list; another number of them the levels that lie between,
    log sigma piecewise linear in the place along the list, as its authors say.

    Args:
        model: whose list: ``sd15``, ``sdxl``, or ``svd`` of Stable Video Diffusion.
    """

    to_zero = True

    def __init__(self, model: Annotated[str, OneOf("sd15", "sdxl", "svd")] = "sd15") -> None:
        self.model, self.listed = model, published(model)
        super().__init__(self.listed[-1], self.listed[0])

    def fitted(self, low: float, high: float, brought: TimeGrid | None = None) -> TimeGrid:
        if isinstance(brought, FlowShift):
            raise InputError(
                "grid=AYS: this model begins at the noise itself, and the list below it; give the "
                "grid of a flow, grid=flow_shift, or none"
            )
        return self

    def _times(self, sde: SDE, n: int) -> Tensor:
        place = np.linspace(self._from(self.sigma_max), len(self.listed) - 1, n + 2)[:-1]
        log = np.interp(place, np.arange(len(self.listed)), np.log(self.listed))
        levels = torch.from_numpy(np.exp(log))
        levels[0] = self.sigma_max
        return sde.time_at(levels)

    def _from(self, level: float) -> float:
        """The place in the list of a level, between its neighbours by log sigma."""
        places = np.arange(len(self.listed), dtype=np.float64)
        return float(np.interp(-math.log(level), -np.log(self.listed), places))
