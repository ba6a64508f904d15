"""Clipping of the denoised image to the range of the data."""

from __future__ import annotations

from typing import Annotated, final

from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.guidance.base import Guidance
from sde_diffusion.system.ranges import Within


@final
class Clip(Guidance, known_as="guidance.clip"):
    """D clipped to [low, high]: the same for every solver, off by default, recorded.

    Args:
        low, high: ends of the data, -1 and 1 for pictures.
    """

    invertible = False

    def __init__(
        self,
        low: Annotated[float, Within("-1e6 <= low < high")] = -1.0,
        high: Annotated[float, Within("high <= 1e6")] = 1.0,
    ) -> None:
        self.low = low
        self.high = high

    @property
    def label(self) -> str:
        return f"clip({self.low:g}, {self.high:g})"

    def __call__(self, inner: Denoiser, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
        return inner(x, sigma, cond).clamp(self.low, self.high)
