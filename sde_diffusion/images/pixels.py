"""The one place where pixels change between uint8 and float."""

from __future__ import annotations

import torch
from torch import Tensor

from sde_diffusion.errors import DivergedError


def to_float(images: Tensor) -> Tensor:
    """uint8 0 .. 255 -> float32 -1 .. 1; vectors, which are floats, as they are."""
    if images.is_floating_point():
        return images
    return images.to(torch.float32) / 127.5 - 1


def to_uint8(x: Tensor) -> Tensor:
    """Float -1 .. 1 -> uint8, clipped, then rounded to nearest (never truncated).

    DivergedError for values that are not finite: as pixels they would be black or white, and
    count as such.
    """
    finite = x.isfinite()
    if not bool(finite.all()):
        wrong = int((~finite).reshape(len(x), -1).any(1).sum())
        raise DivergedError(
            f"samples: {wrong} of {len(x)} hold values that are not finite; the solver diverged: "
            "give a larger nfe or another grid, or check the model"
        )
    return ((x.to(torch.float64).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
