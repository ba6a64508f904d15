"""Energy distance, unbiased."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from sde_diffusion.metrics.base import Metric, drawn, shuffled
from sde_diffusion.metrics.pairwise import BLOCK, blocks
from sde_diffusion.system.ranges import Within


def mean_distance(x: Tensor, y: Tensor, entries: int = BLOCK) -> float:
    """Mean of |x_i - y_j| over all pairs, ``entries`` at a time."""
    total = sum(float(part.sqrt().sum()) for _, part in blocks(x, y, entries))
    return total / (len(x) * len(y))


def own_distance(x: Tensor, entries: int = BLOCK) -> float:
    """Mean of |x_i - x_j| over pairs of different rows, ``entries`` at a time."""
    total = 0.0
    for first, part in blocks(x, x, entries):
        # The distance of a row to itself is a root of rounding, not 0.
        part[:, first : first + len(part)].fill_diagonal_(0)
        total += float(part.sqrt().sum())
    return total / (len(x) * (len(x) - 1))


@dataclass(frozen=True)
class Known:
    """The reference, less its mean [d], and the mean distance of its pairs."""

    mean: Tensor
    centred: Tensor
    own: float


class Energy(Metric[Known], known_as="metric.energy"):
    """2 E|x - y| - E|x - x'| - E|y - y'|, as a U-statistic (Szekely & Rizzo 2013).

    For spaces of few dimensions; unbiased, so negative at times where the laws are equal.

    Args:
        most: at most so many features of either side: time grows with its square.
    """

    name = "energy"

    def __init__(self, most: Annotated[int, Within("2 <= most <= 1000000")] = 5000) -> None:
        self.most = most

    def prepare(self, reference_features: Tensor) -> Known:
        y = shuffled(reference_features, 1)[: self.most]
        mean = y.mean(0)
        return Known(mean, y - mean, own_distance(y - mean))

    def measure(self, features: Tensor, prepared: Known) -> dict[str, float]:
        x = drawn(features, self.most) - prepared.mean
        across = mean_distance(x, prepared.centred)
        return {"energy": 2 * across - own_distance(x) - prepared.own}
