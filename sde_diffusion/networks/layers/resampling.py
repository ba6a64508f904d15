"""Halving and doubling of images with a small filter: box (1, 1), or FIR (1, 3, 3, 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sde_diffusion.errors import InputError


class Resample(nn.Module):
    """The separable filter f f^T / (sum f)^2, applied to every channel alone.

    The filter is even in length, so that both ways keep the image centred; outside of the image
    is zero, as published (Karras et al., arXiv:1912.04958, appendix B).
    """

    kernel: Tensor

    def __init__(self, taps: Sequence[int]) -> None:
        super().__init__()
        check_filter(taps)
        f = torch.tensor(taps, dtype=torch.float32, device="cpu")
        self.register_buffer("kernel", torch.outer(f, f) / f.sum() ** 2, persistent=False)
        self.padding = len(taps) // 2 - 1

    def weight(self, x: Tensor) -> Tensor:
        """One filter a channel of x [N, C, H, W]: [C, 1, k, k]."""
        return self.kernel.to(x.dtype).expand(x.shape[1], 1, -1, -1)


class Down(Resample):
    """x [N, C, H, W] -> [N, C, H/2, W/2]: filtered, every second row and column kept."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight(x), stride=2, padding=self.padding, groups=x.shape[1])


class Up(Resample):
    """x [N, C, H, W] -> [N, C, 2H, 2W]: zeros put between, filtered, times 4 to keep the mean."""

    def forward(self, x: Tensor) -> Tensor:
        weight = 4 * self.weight(x)
        return F.conv_transpose2d(x, weight, stride=2, padding=self.padding, groups=x.shape[1])


def check_filter(taps: Sequence[int]) -> None:
    """InputError unless the taps are an even number, 2 to 16, of numbers 0 to 1000, not all 0."""
    if not 2 <= len(taps) <= 16 or len(taps) % 2:
        raise InputError(
            f"network.resample: {len(taps)} taps; give an even number of them from 2 to 16, "
            "[1,1] or [1,3,3,1]"
        )
    for i, tap in enumerate(taps):
        if not 0 <= tap <= 1000:
            raise InputError(f"network.resample[{i}]={tap}: give 0 to 1000")
    if not sum(taps):
        raise InputError("network.resample: all taps are 0; give [1,1] or [1,3,3,1]")
