"""A denoiser of pictures larger than the network's, from tiles that overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import final

import torch
from torch import Tensor

from sde_diffusion.conditions.condition import LAYOUT, REFERENCE, Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.denoisers.space import Space
from sde_diffusion.denoisers.wrapper import Wrapper
from sde_diffusion.errors import InputError


@final
class Tiled(Wrapper):
    """D(x) = sum_k w_k D(x[k]) / sum_k w_k over tiles k that overlap by a half.

    MultiDiffusion (Bar-Tal et al. 2023, arXiv:2302.08113), with weights that fall to the edge of a
    tile, so that no border shows. What lies farther apart than a tile is not made to agree.

    Args:
        inner: of pictures of one size. size: (C, H, W), no side less than inner's.
        key: what a refusal calls the size.

    Attributes:
        tiles: calls of ``inner`` for one of its own.
    """

    def __init__(self, inner: Denoiser, size: Sequence[int], key: str = "size") -> None:
        super().__init__(inner)
        channels, h, w = inner.shape
        if len(size) != 3 or size[0] != channels or size[1] < h or size[2] < w:
            remedy = "extend=[TOP,RIGHT,BOTTOM,LEFT] pixels around it, or fit=pad"
            raise InputError(
                f"{key}: {' x '.join(map(str, size))}, smaller than the model's {channels} x {h} x "
                f"{w}; give {remedy if key == 'image' else 'no less, or leave it out'}"
            )
        self.space = Space(inner.space.kind, tuple(size))
        self.sides = h, w
        self.corners = list(product(_starts(size[1], h), _starts(size[2], w)))
        self.tiles = len(self.corners)
        falling = [torch.arange(1, n + 1).minimum(torch.arange(n, 0, -1)) for n in (h, w)]
        self.weight = (falling[0][:, None] * falling[1]).float()

    def check_condition(self, cond: Condition | None) -> None:
        for word in (LAYOUT, REFERENCE):
            if cond is not None and word in cond:
                raise InputError(f"{word}: not for a picture that is drawn in tiles; leave it out")
        super().check_condition(cond)

    def forward(self, x: Tensor, sigma: Tensor, cond: Condition | None = None) -> Tensor:
        total, weights = torch.zeros_like(x), torch.zeros_like(x[:1, :1])
        weight = self.weight.to(x)
        for top, left in self.corners:
            window = (..., slice(top, top + self.sides[0]), slice(left, left + self.sides[1]))
            part = torch.zeros_like(x)
            part[window] = weight * self.inner(x[window], sigma, cond)
            total = total + part
            weights[window] += weight
        return total / weights


def _starts(whole: int, tile: int) -> list[int]:
    """Where tiles begin that cover the whole and overlap by about a half."""
    steps = math.ceil((whole - tile) / max(1, tile // 2))
    return [round(i * (whole - tile) / max(1, steps)) for i in range(steps + 1)]
