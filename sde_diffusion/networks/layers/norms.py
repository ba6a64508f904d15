"""Group norms, zero initialisation and scaled sums, shared by the blocks of U-Nets."""

from __future__ import annotations

from typing import TypeVar

import torch.nn.functional as F
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


class NormSilu(nn.GroupNorm):
    """silu(group norm)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(super().forward(x))


def scaled(x: Tensor, gain: float) -> Tensor:
    """gain x, left alone where the gain is 1."""
    return x if gain == 1 else gain * x


def largest_divisor(n: int, limit: int) -> int:
    """The largest divisor of n that is at most ``limit``, and at least 1."""
    return next((d for d in range(limit, 1, -1) if n % d == 0), 1)


def groups_of(channels: int) -> int:
    """At most 32 groups of at least 4 channels (EDM)."""
    return largest_divisor(channels, min(32, channels // 4))


def group_norm(channels: int) -> nn.GroupNorm:
    """Group norm in the groups of ``groups_of``."""
    return nn.GroupNorm(groups_of(channels), channels)


def zero_init(layer: M) -> M:
    """The layer with zero weights, so that a block starts as its skip connection."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
