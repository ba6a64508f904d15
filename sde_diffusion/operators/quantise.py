"""Lossy compression like JPEG's: rounded coefficients of 8 x 8 blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.operators.base import Aside, Map, Operator, checked_noise, picture

SIDE = 8
# Steps of luminance at quality 50 (ITU-T T.81, table K.1), of grey levels 0 .. 255.
TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)


@final
class QuantiseMap(Map):
    """The picture that the rounded coefficients give; its derivative is that without rounding."""

    def __init__(self, shape: Sequence[int], steps: Tensor) -> None:
        super().__init__(shape, shape)
        k = torch.arange(SIDE, dtype=torch.float64)
        cosines = torch.cos(math.pi / SIDE * (k + 0.5) * k[:, None]) * math.sqrt(2 / SIDE)
        cosines[0] /= math.sqrt(2)
        self.cosines, self.steps = cosines, steps

    def forward(self, x: Tensor) -> Tensor:
        cosines, steps = self.cosines.to(x), self.steps.to(x)
        n, channels, height, width = x.shape
        blocks = x.reshape(n, channels, height // SIDE, SIDE, width // SIDE, SIDE).transpose(3, 4)
        levels = (cosines @ blocks @ cosines.T) / steps
        rounded = levels + (levels.round() - levels).detach()
        back = cosines.T @ (rounded * steps) @ cosines
        return back.transpose(3, 4).reshape(x.shape)


class Quantise(Operator):
    """A picture as JPEG's luminance steps leave it, each channel by itself; not linear.

    Args:
        quality: 1 .. 100, as JPEG scales its table.
        noise: standard deviation that a method takes rounding for.
    """

    def __init__(self, quality: int = 10, noise: float = 0.05) -> None:
        if not 1 <= quality <= 100:
            raise InputError(f"operator.quality={quality}: give 1 .. 100")
        self.quality, self.noise = quality, checked_noise(noise)

    def make(self, shape: Sequence[int], aside: Aside) -> Map:
        _, height, width = picture(shape, "quantise")
        if height % SIDE or width % SIDE:
            raise InputError(
                f"operator=quantise: {height} x {width} pixels are no blocks of 8 x 8; give "
                "pictures whose sides divide by 8"
            )
        q = self.quality
        scale = 5000 / q if q < 50 else 200 - 2 * q
        steps = ((torch.tensor(TABLE, dtype=torch.float64) * scale + 50) / 100).floor().clamp_min(1)
        return QuantiseMap(shape, steps / 127.5)
