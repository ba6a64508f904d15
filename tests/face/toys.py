"""Models of one line each, and pictures, for those who try the library."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sde_diffusion import load, wrap

NAN = float("nan")


def gaussian(x: Tensor, sigma: Tensor) -> Tensor:
    """D of N(0, I)."""
    return x / (1 + sigma**2)


def labelled(x: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
    """Class c is N(c, I)."""
    s, mean = sigma[:, None, None, None].as_subclass(Tensor), label[:, None, None, None]
    return (x + s**2 * mean * (mean < 3)) / (1 + s**2)


TOY = wrap(gaussian, (1, 8, 8), name="toy")
CLASSES = wrap(labelled, (1, 8, 8), classes=3)
MNIST = load("mnist")
ZEROS, X = torch.zeros(2, 1, 8, 8), torch.randn(2, 1, 8, 8, generator=torch.Generator())
GREY = torch.randint(
    0, 256, (40, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


def same(a: Any, b: Any) -> None:
    assert torch.equal(a.x, b.x)
