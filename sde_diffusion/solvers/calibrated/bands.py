"""Bands of modes: an image as a sum of parts, each of which may take coefficients of its own."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from scipy.fft import dct
from torch import Tensor


class Bands(ABC):
    """A split of images into B parts that sum to them."""

    count: int

    @abstractmethod
    def to(self, x: Tensor) -> Bands:
        """The same on the device and in the dtype of x."""

    @abstractmethod
    def split(self, x: Tensor) -> list[Tensor]:
        """x [N, *shape] -> B parts [N, *shape]; on one device, of one dtype."""


@final
class PcaBands(Bands):
    """Leading principal components in groups; the last part is all that they leave.

    Args:
        modes: V [K, d], orthonormal rows, leading first.
        edges: increasing, at most K: band b holds the modes edges[b - 1] .. edges[b] - 1.
    """

    def __init__(self, modes: Tensor, edges: Sequence[int]) -> None:
        self.modes, self.edges = modes, list(edges)
        self.count = len(self.edges) + 1

    def to(self, x: Tensor) -> Bands:
        return PcaBands(self.modes.to(x), self.edges)

    def split(self, x: Tensor) -> list[Tensor]:
        flat = x.flatten(1)
        parts = []
        for first, last in zip([0, *self.edges[:-1]], self.edges, strict=True):
            v = self.modes[first:last]
            parts.append((flat @ v.T @ v).reshape(x.shape))
        return [*parts, x - torch.stack(parts).sum(0)]


@final
class DctBands(Bands):
    """Rings of the orthonormal discrete cosine transform, for images of any size.

    Args:
        shape: of one image, (C, H, W).
        edges: increasing radii in units of the largest frequency; band b holds the frequencies
            edges[b - 1] <= |f| < edges[b], the last one all beyond.
    """

    def __init__(self, shape: Sequence[int], edges: Sequence[float]) -> None:
        _, h, w = shape
        self.count = len(edges) + 1
        self.rows, self.columns = (
            torch.from_numpy(dct(np.eye(n), axis=0, norm="ortho")) for n in (h, w)
        )
        f = torch.hypot(torch.arange(h)[:, None] / h, torch.arange(w)[None] / w)
        self.ring = torch.bucketize(f, torch.tensor(list(edges), dtype=f.dtype), right=True)

    def to(self, x: Tensor) -> Bands:
        moved = copy.copy(self)
        moved.rows, moved.columns = self.rows.to(x), self.columns.to(x)
        moved.ring = self.ring.to(x.device)
        return moved

    def split(self, x: Tensor) -> list[Tensor]:
        spectrum = self.rows @ x @ self.columns.T
        return [
            self.rows.T @ (spectrum * (self.ring == b)) @ self.columns for b in range(self.count)
        ]
