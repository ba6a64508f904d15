"""From finished cells to points over all blocks and a ranking at each number of evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sde_diffusion.metrics.judge import Judge, Row
from sde_diffusion.report.comparison import point
from sde_diffusion.report.ranking import Ranking, rank
from sde_diffusion.tasks.compare.cell import Cells
from sde_diffusion.tasks.compare.plan import Plan


def verdict(
    rows: Mapping[Plan, Sequence[Row]], judge: Judge, cells: Cells
) -> tuple[list[Row], list[Ranking]]:
    """The points of every solver, and a ranking at each NFE from the finished cells.

    It holds the features of one NFE at a time.
    """
    budgets: dict[tuple[str, int | None], dict[str, list[Plan]]] = {}
    for plan in rows:
        # An adaptive solver has an NFE of its own, and so no rival.
        rivals = (plan.label if plan.nfe is None else "", plan.nfe)
        budgets.setdefault(rivals, {}).setdefault(plan.label, []).append(plan)
    points: dict[str, list[Row]] = {}
    rankings = []
    for solvers in budgets.values():
        features = {label: _features(cells, blocks) for label, blocks in solvers.items()}
        strata = strata_of(next(iter(solvers.values())))
        last = []
        for label, blocks in solvers.items():
            pooled = over_blocks([rows[plan] for plan in blocks], features[label], strata, judge)
            points.setdefault(label, []).extend(pooled)
            last.append(pooled[-1])
        flat = {label: x.flatten(0, 1) for label, x in features.items()}
        labels = None if strata is None else strata.flatten()
        rankings.append(rank(last, flat, judge.reference, judge.sufficient, labels))
    return [row for of_label in points.values() for row in of_label], sorted(
        rankings, key=lambda ranking: ranking.nfe
    )


def _features(cells: Cells, blocks: Sequence[Plan]) -> Tensor:
    """Of all blocks [B, N, d]; of a single one as they were read, in no second copy."""
    if len(blocks) == 1:
        return cells.read(blocks[0]).features[None]
    return torch.stack([cells.read(plan).features for plan in blocks])


def strata_of(blocks: Sequence[Plan]) -> Tensor | None:
    """The labels [B, N] of the samples of all blocks, if they were set."""
    labels = [plan.strata for plan in blocks if plan.strata is not None]
    return torch.stack(labels) if labels else None


def over_blocks(
    blocks: Sequence[Sequence[Row]], features: Tensor, strata: Tensor | None, judge: Judge
) -> list[Row]:
    """The points of one solver and NFE: rows of its B blocks, and their features [B, N, d]."""
    points = []
    for same in zip(*blocks, strict=True):
        pooled = same[0]
        if len(blocks) > 1:
            n = pooled["samples"]
            labels = None if strata is None else strata[:, :n].flatten()
            pooled = judge.inference(features[:, :n].flatten(0, 1), labels)
        points.append(point(same, pooled))
    return points
