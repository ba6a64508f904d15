"""The rows of a result: distances of one set of features at several numbers of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sde_diffusion.config.compose import build
from sde_diffusion.metrics.base import Metric
from sde_diffusion.metrics.frechet import Reference, frechet_curve
from sde_diffusion.metrics.inference import MIN_RATIO, debiased
from sde_diffusion.metrics.reference import ReferenceSet

Row = dict[str, Any]
FLOOR_COUNTS = (500, 1000, 2000, 5000)


def metrics(nodes: Mapping[str, Any] | None) -> list[Metric[Any]]:
    """The metrics beside the Fréchet distance: the nodes of a config's ``metric``, by name."""
    return [build(node, f"metric.{name}", Metric) for name, node in (nodes or {}).items()]


def score_line(metric: str, row: Row) -> str:
    """One row as a line of text."""
    line = f"{metric}  N={row['samples']}: {row['fd']:.4g}"
    if row["fd_low"] is None:
        return line
    interval = f"[{row['fd_low']:.4g}, {row['fd_high']:.4g}]"
    return f"{line}  without bias {row['fd_debiased']:.4g} {interval}"


@dataclass(frozen=True)
class Judge:
    """A reference, features of it (or None), and the metrics beside the Fréchet distance."""

    reference: Reference
    features: Tensor | None
    metrics: Sequence[Metric[Any]] = ()

    @property
    def sufficient(self) -> Tensor | None:
        """The reference's features if they are enough for its side of an interval."""
        enough = self.features is not None and len(self.features) >= (
            MIN_RATIO * self.features.shape[1]
        )
        return self.features if enough else None

    def rows(
        self, features: Tensor, counts: Sequence[int], strata: Tensor | None = None
    ) -> list[Row]:
        """One row a count, a prefix of ``features`` [N, d]: plug-in distance, bias-removed value
        and 95 % interval, and each metric; None where one is withheld.

        ``strata`` [N] are the labels if they were set, not drawn.
        """
        ordered = sorted(set(counts))
        curve = frechet_curve(features, self.reference, ordered)
        rows = []
        for n, distance in zip(ordered, curve, strict=True):
            labels = None if strata is None else strata[:n]
            row: Row = {
                "samples": n,
                "fd": distance.value,
                "rank": distance.rank,
                "clipped": distance.clipped,
                **self.inference(features[:n], labels),
            }
            for metric in self.metrics:
                if self.features is not None and n >= metric.least <= len(self.features):
                    row |= metric(features[:n], self.features)
            rows.append(row)
        names = dict.fromkeys(name for row in rows for name in row)
        return [{**names, **row} for row in rows]

    def inference(self, features: Tensor, strata: Tensor | None = None) -> Row:
        """The bias-removed value with its interval, or why not."""
        estimate = debiased(features, self.reference, self.sufficient, strata)
        return {
            "fd_debiased": estimate.value,
            "fd_low": estimate.low,
            "fd_high": estimate.high,
            "standard_error": estimate.standard_error,
            "note": estimate.note,
        }

    def floors(
        self,
        held_out: Tensor,
        counts: Sequence[int],
        labels: Tensor | None = None,
        like: Tensor | None = None,
        strata: bool = False,
    ) -> dict[int, Row]:
        """The rows of as many real held-out images, for the counts that there are images for.

        With the ``labels`` [M] of these, and those of the samples, ``like`` [N], each prefix of the
        samples meets as many real images of each class. Of classes that were set, not drawn,
        samples are nearer to the data than real images drawn at random.

        Args:
            strata: the labels of the samples were set.
        """
        if like is None or labels is None or not len(labels) or not known(like, labels):
            possible = sorted({n for n in counts if n <= len(held_out)})
            rows = self.rows(held_out, possible) if possible else []
            return {row["samples"]: row for row in rows}
        floors = {}
        for n in sorted(set(counts)):
            if (chosen := of_classes(like[:n], labels)) is not None:
                real = labels[chosen] if strata else None
                floors[n] = self.rows(held_out[chosen], [n], real)[0]
        return floors


def known(like: Tensor, labels: Tensor) -> bool:
    """Whether all classes of ``like`` are among ``labels``."""
    return bool(torch.isin(like, labels).all())


def of_classes(like: Tensor, labels: Tensor) -> Tensor | None:
    """The first rows of ``labels`` [M] with as many of each class as ``like`` [N] has, in the order
    in which they stand; None if there are too few."""
    rows = []
    for label, n in zip(*like.unique(return_counts=True), strict=True):
        there = (labels == label).nonzero()[:, 0]
        if len(there) < n:
            return None
        rows.append(there[: int(n)])
    return torch.sort(torch.cat(rows)).values


def floor_rows(reference: ReferenceSet) -> list[Row]:
    """The rows of 500, 1,000, ... held-out images, and of all that there are."""
    held_out = reference.held_out.double()
    counts = [n for n in (*FLOOR_COUNTS, len(held_out)) if 2 <= n <= len(held_out)]
    judge = Judge(reference.reference, reference.features.double())
    return list(judge.floors(held_out, counts).values())
