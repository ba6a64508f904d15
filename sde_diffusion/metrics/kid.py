"""Kernel distance: unbiased squared MMD with a cubic kernel, as a mean over blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from sde_diffusion.metrics.base import Metric, shuffled
from sde_diffusion.system.ranges import Within


def kernel_sum(x: Tensor, y: Tensor) -> Tensor:
    """Sum of (x_i.y_j / d + 1)^3 over all pairs of x [N, d] and y [M, d]."""
    base = torch.addmm(torch.ones((), dtype=x.dtype), x, y.T, alpha=1 / x.shape[1]).flatten()
    return base.square() @ base


def within(x: Tensor) -> Tensor:
    """Mean of the kernel over pairs of different rows of x, its U-statistic."""
    n = len(x)
    diagonal = (x.square().sum(1) / x.shape[1] + 1) ** 3
    return (kernel_sum(x, x) - diagonal.sum()) / (n * (n - 1))


def across(x: Tensor, y: Tensor) -> Tensor:
    """Mean of the kernel over all pairs of x and y."""
    return kernel_sum(x, y) / (len(x) * len(y))


@dataclass(frozen=True)
class Blocks:
    """Blocks of the reference, and the mean of the kernel within each."""

    parts: tuple[Tensor, ...]
    within: Tensor


class KID(Metric[Blocks], known_as="metric.kid"):
    """MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y), unbiased (arXiv 1801.01401).

    Both sets are shuffled, each in its own way (in the same one, two sets sorted by class would
    keep their classes matched), and cut into ``blocks`` disjoint blocks; ``kid`` is the mean of
    the blocks' unbiased values, ``kid_error`` their standard deviation over the root of their
    number. Unbiased for samples drawn freely: with classes in rotation pairs of one class are
    rarer, and it is too small by (mean of k within a class - mean of k) / (N - 1).

    Args:
        blocks: number of blocks, at least 2.
    """

    name = "kid"

    def __init__(self, blocks: Annotated[int, Within("2 <= blocks <= 10000")] = 10) -> None:
        self.blocks, self.least = blocks, 2 * blocks

    def prepare(self, reference_features: Tensor) -> Blocks:
        parts = shuffled(reference_features, 1).tensor_split(self.blocks)
        return Blocks(parts, torch.stack([within(y) for y in parts]))

    def measure(self, features: Tensor, prepared: Blocks) -> dict[str, float]:
        parts = shuffled(features, 0).tensor_split(self.blocks)
        of_samples = torch.stack([within(x) for x in parts])
        both = zip(parts, prepared.parts, strict=True)
        values = of_samples + prepared.within - 2 * torch.stack([across(x, y) for x, y in both])
        return {"kid": float(values.mean()), "kid_error": float(values.std()) / self.blocks**0.5}
