"""The one place where pixels change between uint8 and float."""

from __future__ import annotations

import torch
from torch import Tensor

from sde_diffusion.errors import InputError


def to_float(images: Tensor) -> Tensor:
    """uint8 0 .. 255 -> float32 -1 .. 1; vectors, which are floats, as they are."""
    if images.is_floating_point():
        return images
    return images.to(torch.float32) / 127.5 - 1


def from_levels(levels: Tensor, white: int) -> Tensor:
    """Whole numbers 0 .. white -> float32 -1 .. 1."""
    return (levels.to(torch.float64) / white * 2 - 1).float()


def to_levels(x: Tensor, white: int) -> Tensor:
    """Float -1 .. 1 -> int32 0 .. white, clipped, then rounded to nearest: undoes the other."""
    return ((x.to(torch.float64).clamp(-1, 1) + 1) * (white / 2)).round().to(torch.int32)


def not_finite(x: Tensor) -> int:
    """How many rows of x [N, ...] hold values that are not finite."""
    return int((~x.isfinite()).reshape(len(x), -1).any(1).sum())


def to_uint8(x: Tensor) -> Tensor:
    """Float -1 .. 1 -> uint8, clipped, then rounded to nearest (never truncated).

    InputError for values that are not finite: as pixels they would be black or white, and count
    as such.
    """
    if wrong := not_finite(x):
        raise InputError(
            f"images: {wrong} of {len(x)} hold values that are not finite; they are no pictures: "
            "check what made them"
        )
    return ((x.to(torch.float64).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
