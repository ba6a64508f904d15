"""Inpainting: some numbers of a state are measured, the others are not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.operators.base import Aside, LinearMap, Map, Operator, checked_noise, picture
from sde_diffusion.operators.spectrum import Spectrum

MASK = "mask"


@final
class MaskMap(LinearMap):
    """A x = m x, 0 where m is 0: U = V = I, s = m.

    Args:
        shape: of one state. mask: m, 0 or 1, [*shape] or [N, *shape].
    """

    def __init__(self, shape: Sequence[int], mask: Tensor) -> None:
        super().__init__(shape, shape, mask)
        self.mask = mask

    def forward(self, x: Tensor) -> Tensor:
        return x * self.mask.to(x)

    def adjoint(self, y: Tensor) -> Tensor:
        return y * self.mask.to(y)

    def kept(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.where(self.mask.to(x.device) > 0, y.to(x), x)

    def spectrum(self) -> Spectrum:
        return Spectrum(self.mask, _same, _same, self.adjoint)


def _same(x: Tensor) -> Tensor:
    return x


class Mask(Operator):
    """The user's mask, which rides with the measurement: 1 where a pixel is known, 0 elsewhere.

    Args:
        noise: standard deviation of the known pixels.
    """

    needs = (MASK,)

    def __init__(self, noise: float = 0.0) -> None:
        self.noise = checked_noise(noise)

    def make(self, shape: Sequence[int], aside: Aside) -> Map:
        if MASK not in aside:
            raise InputError("operator=mask: no mask; give one, or choose operator=box, random")
        mask = aside[MASK]
        sides = zip(mask.shape[1:], shape, strict=False)
        if mask.ndim != len(shape) + 1 or not all(a in (1, b) for a, b in sides):
            raise InputError(
                f"mask: its shape {tuple(mask.shape[1:])} is not the picture's {tuple(shape)}"
            )
        return MaskMap(shape, mask.expand(len(mask), *shape))


class Box(Operator):
    """All is known but a box in the middle.

    Args:
        share: side of the box over that of the picture, 0 < share < 1.
        noise: standard deviation of the known pixels.
    """

    def __init__(self, share: float = 0.5, noise: float = 0.05) -> None:
        if not 0 < share < 1:
            raise InputError(f"operator.share={share}: give a share of the side, 0 < share < 1")
        self.share, self.noise = share, checked_noise(noise)

    def make(self, shape: Sequence[int], aside: Aside) -> Map:
        _, height, width = picture(shape, "box")
        mask = torch.ones(*shape, dtype=torch.float64)
        h, w = max(1, round(self.share * height)), max(1, round(self.share * width))
        top, left = (height - h) // 2, (width - w) // 2
        mask[:, top : top + h, left : left + w] = 0
        return MaskMap(shape, mask)


class Random(Operator):
    """A random share of the positions is known, all channels of each.

    Args:
        share: of the positions that are known, 0 < share < 1.
        seed: of the positions. noise: standard deviation of the known numbers.
    """

    def __init__(self, share: float = 0.3, seed: int = 0, noise: float = 0.05) -> None:
        if not 0 < share < 1 or not 0 <= seed < 2**63:
            raise InputError(
                f"operator.share={share}, seed={seed}: give 0 < share < 1 and a seed >= 0"
            )
        self.share, self.seed, self.noise = share, seed, checked_noise(noise)

    def make(self, shape: Sequence[int], aside: Aside) -> Map:
        places = tuple(shape[1:]) if len(shape) == 3 else tuple(shape)
        generator = torch.Generator().manual_seed(self.seed)
        order = torch.rand(places, generator=generator, dtype=torch.float64).flatten().argsort()
        mask = torch.zeros(order.numel(), dtype=torch.float64)
        mask[order[: max(1, round(self.share * order.numel()))]] = 1
        return MaskMap(shape, mask.reshape(places).expand(*shape))
