"""Euclidean distances between all pairs of two feature sets, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

# Entries of one block of distances: 8 MiB in float64.
BLOCK = 2**20


def _squared_distances(x: Tensor, columns: Tensor, squares: Tensor) -> Tensor:
    product = torch.addmm(squares, x, columns, alpha=-2)
    return product.add_(x.square().sum(1)[:, None]).clamp_min_(0)


def blocks(x: Tensor, y: Tensor, entries: int = BLOCK) -> Iterator[tuple[int, Tensor]]:
    """(first row, squared distances of some rows of x [N, d] to all of y [M, d]), in order.

    Of at most ``entries`` distances, or of one row where it has more. |x|^2 + |y|^2 - 2 x.y loses
    digits where both lie far from the origin: centre them first.
    """
    # Once for all blocks, and in the order in which the product reads it: half the time.
    columns, squares = y.T.contiguous(), y.square().sum(1)
    rows = max(1, entries // len(y))
    for first in range(0, len(x), rows):
        yield first, _squared_distances(x[first : first + rows], columns, squares)


def nearest(x: Tensor, y: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    """Squared distances [N, k] of each x to its k nearest in y, increasing, and where they are."""
    parts = [part.topk(k, largest=False) for _, part in blocks(x, y)]
    return torch.cat([f.values for f in parts]), torch.cat([f.indices for f in parts])


def squared_radii(x: Tensor, k: int) -> Tensor:
    """Squared distance [N] of each x to the k-th nearest of the others."""
    # The nearest of all is the point itself. Copies lie within a radius of 0, but for rounding.
    rounding = 2 * x.shape[1] * torch.finfo(x.dtype).eps * x.square().sum(1)
    return nearest(x, x, k + 1)[0][:, k] + rounding
