"""The rows of a result: distances of one set of features at several numbers of samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from sde_diffusion.metrics.frechet import Reference, frechet_curve
from sde_diffusion.metrics.inference import debiased


def score_features(
    features: Tensor, counts: Sequence[int], reference: Reference
) -> list[dict[str, Any]]:
    """One row a count: plug-in distance, bias-removed value and 95 % interval, or why not."""
    rows = []
    ordered = sorted(set(counts))
    for n, distance in zip(ordered, frechet_curve(features, reference, ordered), strict=True):
        inference = debiased(features[:n], reference)
        rows.append(
            {
                "samples": n,
                "fd": distance.value,
                "rank": distance.rank,
                "fd_debiased": inference.value,
                "fd_low": inference.low,
                "fd_high": inference.high,
                "note": inference.note,
            }
        )
    return rows


def floors(
    held_out: Tensor, counts: Sequence[int], reference: Reference
) -> dict[int, float | None]:
    """Distance of as many real held-out images, None where there are not so many."""
    known = sorted({n for n in counts if n <= len(held_out)})
    found: dict[int, float | None] = dict.fromkeys(counts)
    if known:
        curve = frechet_curve(held_out, reference, known)
        found.update({n: d.value for n, d in zip(known, curve, strict=True)})
    return found
