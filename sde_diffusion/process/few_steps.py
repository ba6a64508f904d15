"""The levels at which consistency models are asked: some of those that they were trained at.

A walk's last step leads from the least of them to an image, at the end of the grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.process.grids import Rho, TimeGrid, power_spaced
from sde_diffusion.process.sde import SDE, SigmaMax, SigmaMin
from sde_diffusion.process.timesteps import betas_within, table_of
from sde_diffusion.system.ranges import Within


class FewSteps(TimeGrid):
    """Of K levels by Karras' formula, number i (K // N) for i = 0 .. N - 1, then sigma_min.

    Args:
        levels: K. rho, sigma_min, sigma_max: of the formula.
    """

    to_image = True

    def __init__(
        self,
        levels: Annotated[int, Within("2 <= levels <= 100000")] = 40,
        rho: Rho = 7.0,
        sigma_min: SigmaMin = 0.002,
        sigma_max: SigmaMax = 80.0,
    ) -> None:
        super().__init__(sigma_min, sigma_max)
        self.count, self.rho = levels, rho

    def _times(self, sde: SDE, n: int) -> Tensor:
        if n >= self.count:
            raise InputError(
                f"nfe={n}: the model has {self.count} levels, the last the end; give at most "
                f"{self.count - 1}"
            )
        first, last = self._ends()
        unit = torch.linspace(0, 1, self.count, dtype=torch.float64)
        every = power_spaced(first, last, unit, self.rho)
        chosen = every[torch.arange(n) * (self.count // n)]
        return sde.time_at(torch.cat([chosen, last[None]]))


class Skipped(TimeGrid):
    """Of K = ``original`` numbers (T // K) j - 1, j = K .. 1, those at floor(i K / N), then the
    least level (latent consistency models, arXiv:2310.04378; TCD, arXiv:2402.19159).

    Args:
        betas: of the discrete process, as of ``ByTimestep``. original: K.
        to_image: whether the last step leads to an image, or to a state of the least level, which
            is taken as it stands.
    """

    unit_variance = True

    def __init__(
        self,
        betas: Mapping[str, Any] | None = None,
        original: Annotated[int, Within("1 <= original <= 100000")] = 50,
        to_image: bool = True,
    ) -> None:
        self.table, self.betas, self.original = table_of(betas or {}), betas, original
        self.to_image = to_image
        if original > self.table.last:
            raise InputError(f"grid.original={original}: give 1 to {self.table.last}")
        top = original * ((self.table.last + 1) // original) - 1
        super().__init__(self.table.sigma_min, float(self.table.sigmas[top]))

    def within(self, low: float, high: float) -> str:
        return betas_within(low, high)

    def _times(self, sde: SDE, n: int) -> Tensor:
        if n > self.original:
            raise InputError(
                f"nfe={n}: the model was distilled at {self.original} levels; give at most that"
            )
        every = np.arange(self.original, 0, -1) * ((self.table.last + 1) // self.original) - 1
        at = np.floor(np.linspace(0, self.original, n, endpoint=False)).astype(np.int64)
        numbers = torch.from_numpy(every[at]).double()
        levels = torch.cat([self.table.level(numbers), self.table.sigmas[:1]])
        return sde.time_at(levels)
