"""Weights by name, the same in the authors' networks and in ours, so that none need be stored."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

QUIET = 0.1  # gain of a head whose network is to have a smooth flow


def drawn(name: str, shape: Sequence[int]) -> Tensor:
    """A tensor that its name and shape fix: about unit gain a layer, and no weight at 0.

    numpy's RandomState gives the same numbers in every release.
    """
    g = np.random.RandomState(zlib.crc32(name.encode()))
    values = g.standard_normal(tuple(shape))
    if len(shape) > 1:
        values *= 1 / np.sqrt(np.prod(shape[1:]))
    elif len(shape) == 0:
        values = np.float64(0.5)
    elif name.endswith("freqs") or name.endswith(".W"):
        values *= 1.0
    else:
        values = 0.1 * values + (1.0 if name.endswith("weight") else 0.0)
    return torch.as_tensor(values, dtype=torch.float32).reshape(tuple(shape))


def weights(shapes: Mapping[str, Sequence[int]], kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All tensors of a recorded network: those that were kept, and the drawn ones."""
    return {name: kept[name] if name in kept else drawn(name, s) for name, s in shapes.items()}


class Replay:
    """Standard normal draws, in the order that they are asked for."""

    def __init__(self, seed: int) -> None:
        self.g = np.random.RandomState(seed)

    def __call__(self, shape: Sequence[int]) -> Tensor:
        return torch.from_numpy(self.g.standard_normal(tuple(shape))).float()
