"""Features of a convolutional network that was never trained: no data set favours them."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.images.pixels import to_float
from sde_diffusion.metrics.extractors.base import Extractor
from sde_diffusion.metrics.extractors.pixel import POOL, largest_pool
from sde_diffusion.metrics.extractors.weights import content_hash
from sde_diffusion.system.ranges import Within

# Part of the fingerprint: to be raised with any change of what the same weights compute.
PROTOCOL = "random-conv 1; float32"
GRID, MIN_SIDE = 2, 16


class RandomConvExtractor(Extractor):
    """Three random strided convolutions, then means over 2 x 2 quarters of the image.

    Weights are normal with variance 2 / fan-in (arXiv:1502.01852), so that activations keep their
    scale. Random features are free of what a classifier was taught (arXiv:2002.09797).

    Args:
        dim: number of features, a multiple of 4.
        channels: of the images, which have 16 pixels a side or more.
        seed: of the weights.
    """

    def __init__(
        self,
        dim: Annotated[int, Within("1 <= dim <= 65536")] = 64,
        channels: Annotated[int, Within("1 <= channels <= 4096")] = 1,
        seed: Annotated[int, Within("0 <= seed < 18446744073709551616")] = 0,
    ) -> None:
        if dim < GRID**2 or dim % GRID**2:
            raise InputError(f"extractor.dim={dim}: give a positive multiple of {GRID**2}")
        self.dim, self.channels = dim, channels
        generator = torch.Generator().manual_seed(seed)
        widths = (channels, 32, 64, dim // GRID**2)
        self.weights = [
            torch.randn(c_out, c_in, k, k, generator=generator) * (2 / (c_in * k * k)) ** 0.5
            for (c_in, c_out), k in zip(pairwise(widths), (5, 3, 3), strict=True)
        ]
        self.name = "random-conv"
        content = content_hash({str(i): w for i, w in enumerate(self.weights)})
        self.fingerprint = hashlib.sha256(f"{PROTOCOL} {content}".encode()).hexdigest()[:16]

    def extract(self, images: Tensor) -> Tensor:
        where = f"extractor=random-conv: images {tuple(images.shape[1:])}"
        if min(images.shape[2:]) < MIN_SIDE:
            pool = largest_pool(*images.shape[2:])
            raise InputError(
                f"{where}: it takes {MIN_SIDE} pixels a side or more; set extractor=pixel"
                + f" extractor.pool={pool}" * (pool != POOL)
            )
        if images.shape[1] != self.channels:
            channels = images.shape[1]
            raise InputError(
                f"{where}: it was made for {self.channels} channels; set "
                f"extractor.channels={channels}"
            )
        x = to_float(images)
        for weight in self.weights:
            x = F.relu(F.conv2d(x, weight, stride=2, padding=weight.shape[2] // 2))
        return F.adaptive_avg_pool2d(x, GRID).flatten(1)
