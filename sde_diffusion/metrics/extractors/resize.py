"""How images reach a network's input size: a part of every number, so a named protocol."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from sde_diffusion.errors import InputError


def _corners(n: int, size: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Lower and upper source pixel of each target pixel k, and the weight of the upper one.

    Target k lies at k n / size: no half pixels, corners not aligned.
    """
    at = torch.arange(size, dtype=torch.float32, device=device) * torch.tensor(n / size)
    low = at.to(torch.int64)
    return low, (low + 1).clamp_max(n - 1), at - low


def tf1_bilinear(x: Tensor, size: int) -> Tensor:
    """TensorFlow 1's bilinear resize of float images [N, C, H, W]: the protocol of published FID.

    Neither antialiased nor rounded.
    """
    low, high, weight = _corners(x.shape[2], size, x.device)
    weight = weight[:, None]
    top, bottom = x[:, :, low], x[:, :, high]
    left, right, across = _corners(x.shape[3], size, x.device)
    # Across, then down, each as a + (b - a) w: the order of operations of the original.
    top = top[..., left] + (top[..., right] - top[..., left]) * across
    bottom = bottom[..., left] + (bottom[..., right] - bottom[..., left]) * across
    return top + (bottom - top) * weight


def _filtered(mode: str) -> Callable[[Tensor, int], Tensor]:
    def resize(x: Tensor, size: int) -> Tensor:
        resized = F.interpolate(x, (size, size), mode=mode, antialias=True, align_corners=False)
        return resized.round().clamp(0, 255)

    return resize


def _unchanged(x: Tensor, size: int) -> Tensor:
    if tuple(x.shape[2:]) != (size, size):
        raise InputError(
            f"extractor.size={size}: images of {x.shape[2]} x {x.shape[3]} and resize=none; "
            f"choose one of {sorted(RESIZES)}"
        )
    return x


# Float images 0 .. 255 [N, C, H, W] -> [N, C, size, size]. bilinear and bicubic are those of image
# libraries: half pixels, antialiased, rounded to grey levels.
RESIZES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "bicubic": _filtered("bicubic"),
    "bilinear": _filtered("bilinear"),
    "none": _unchanged,
    "tf1": tf1_bilinear,
}
