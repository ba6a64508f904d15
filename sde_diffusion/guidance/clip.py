"""Clipping of the denoised image to the range of the data."""

from __future__ import annotations

from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.guidance.base import Guidance


class Clip(Guidance):
    """D clipped to [low, high]: the same for every solver, off by default, recorded."""

    def __init__(self, inner: Denoiser, low: float = -1.0, high: float = 1.0) -> None:
        super().__init__(inner)
        self.low = low
        self.high = high

    @property
    def invertible(self) -> bool:
        return False

    @property
    def label(self) -> str:
        return f"clip({self.low:g}, {self.high:g})"

    def forward(self, x: Tensor, sigma: Tensor, cond: Condition | None = None) -> Tensor:
        return self.inner(x, sigma, cond).clamp(self.low, self.high)
