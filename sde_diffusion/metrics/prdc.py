"""Precision, recall, density and coverage, from balls around nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from sde_diffusion.metrics.base import Metric, drawn, shuffled
from sde_diffusion.metrics.pairwise import blocks, squared_radii
from sde_diffusion.system.ranges import Within


@dataclass(frozen=True)
class Balls:
    """Centres [M, d] less ``mean`` [d], and squared radii [M]: distances to the k-th neighbour."""

    mean: Tensor
    centres: Tensor
    radii: Tensor


class PRDC(Metric[Balls], known_as="metric.prdc"):
    """Real images y_i and generated x_j, each with the ball that reaches its k-th own neighbour.

    precision: share of the x in some ball of a y; recall: of the y in some ball of an x
    (arXiv 1904.06991). density: mean number of balls of y that an x lies in, over k; coverage:
    share of the balls of y that hold some x (arXiv 2002.09797). All four depend on the number of
    images, so compare them at one N only.

    Args:
        k: neighbours.
        most: at most so many features of either side; time and recall grow with it.
    """

    name = "prdc"

    def __init__(
        self,
        k: Annotated[int, Within("1 <= k < most")] = 5,
        most: Annotated[int, Within("most <= 1000000")] = 5000,
    ) -> None:
        self.k, self.most, self.least = k, most, k + 1

    def prepare(self, reference_features: Tensor) -> Balls:
        y = shuffled(reference_features, 1)[: self.most]
        mean = y.mean(0)
        centres = y - mean
        return Balls(mean, centres, squared_radii(centres, self.k))

    def measure(self, features: Tensor, prepared: Balls) -> dict[str, float]:
        x, y = drawn(features, self.most) - prepared.mean, prepared.centres
        radii = squared_radii(x, self.k)
        precise, inside = 0, 0
        recalled = torch.zeros(len(y), dtype=torch.bool)
        covered = torch.zeros(len(y), dtype=torch.bool)
        for first, squared in blocks(x, y):
            within = squared <= prepared.radii
            counts = within.sum(1, dtype=torch.int32)
            precise += int(counts.count_nonzero())
            inside += int(counts.sum())
            covered |= within.any(0)
            recalled |= (squared <= radii[first : first + len(squared), None]).any(0)
        return {
            "precision": precise / len(x),
            "recall": float(recalled.double().mean()),
            "density": inside / (self.k * len(x)),
            "coverage": float(covered.double().mean()),
        }
