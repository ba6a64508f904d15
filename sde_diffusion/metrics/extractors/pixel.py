"""Pixels themselves, averaged over squares."""

from __future__ import annotations

import hashlib
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.metrics.extractors.base import Extractor
from sde_diffusion.system.ranges import Within

POOL = 4


def largest_pool(height: int, width: int) -> int:
    """The largest side of squares, ``POOL`` at most, that fill a picture."""
    return next(p for p in range(POOL, 0, -1) if height % p == width % p == 0)


class PixelExtractor(Extractor):
    """Pixels in 0 .. 1, averaged over ``pool`` x ``pool`` squares: a distance with no network.

    Args:
        pool: side of a square in pixels; it must divide height and width.
        channels, height, width: shape of the images.
    """

    def __init__(
        self,
        pool: Annotated[int, Within("1 <= pool <= 65536")] = POOL,
        channels: Annotated[int, Within("1 <= channels <= 4096")] = 1,
        height: Annotated[int, Within("1 <= height <= 65536")] = 28,
        width: Annotated[int, Within("1 <= width <= 65536")] = 28,
    ) -> None:
        if pool < 1 or height % pool or width % pool:
            raise InputError(
                f"extractor.pool={pool}: give a divisor of {height} and {width}, extractor.pool="
                f"{largest_pool(height, width)}"
            )
        self.pool, self.shape = pool, (channels, height, width)
        self.dim = channels * (height // pool) * (width // pool)
        self.name = f"pixel{pool}"
        content = f"pixel 1 {pool} {self.shape}"
        self.fingerprint = hashlib.sha256(content.encode()).hexdigest()[:16]

    def extract(self, images: Tensor) -> Tensor:
        if tuple(images.shape[1:]) != self.shape:
            raise InputError(
                f"extractor=pixel: takes images {self.shape}, not {tuple(images.shape[1:])}; "
                "set extractor.channels, extractor.height, extractor.width"
            )
        return F.avg_pool2d(images.double() / 255, self.pool).flatten(1)
