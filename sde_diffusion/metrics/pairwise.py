"""Euclidean distances between all pairs of two feature sets, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

# Entries of one block of distances: 32 MiB in float64.
BLOCK = 2**22


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """|x_i - y_j|^2 [N, M] of x [N, d] and y [M, d], by one matrix product.

    |x|^2 + |y|^2 - 2 x.y loses digits where both lie far from the origin: centre them first.
    """
    product = torch.addmm(y.square().sum(1), x, y.T, alpha=-2)
    return product.add_(x.square().sum(1)[:, None]).clamp_min_(0)


def blocks(x: Tensor, y: Tensor) -> Iterator[tuple[int, Tensor]]:
    """(first row, squared distances of some rows of x to all of y), in order."""
    rows = max(1, BLOCK // len(y))
    for first in range(0, len(x), rows):
        yield first, squared_distances(x[first : first + rows], y)


def nearest(x: Tensor, y: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    """Squared distances [N, k] of each x to its k nearest in y, increasing, and where they are."""
    found = [part.topk(k, largest=False) for _, part in blocks(x, y)]
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


def squared_radii(x: Tensor, k: int) -> Tensor:
    """Squared distance [N] of each x to the k-th nearest of the others."""
    # The nearest of all is the point itself.
    return nearest(x, x, k + 1)[0][:, k]
