"""What a comparison found: its rows, the means of its seed blocks, ranks, floors and pictures.

A row is one (solver, NFE, N, block of seeds), a point one (solver, NFE, N) over all blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

from torch import Tensor

from sde_diffusion.report.ranking import Ranking
from sde_diffusion.sampling.film import Film

Row = dict[str, Any]
REAL = "real images"
# The columns of every row; the metrics beside the Fréchet distance come on top.
SCORES = ["fd", "fd_debiased", "fd_low", "fd_high", "standard_error", "floor", "floor_debiased"]
PROTOCOL = [
    "seconds", "ms_per_image", "nfe_asked", "steps", "order", "stochastic", "couples_batch",
    "seeds", "grid", "sde", "extractor", "model", "dtype", "network_dtype", "device",
    "quantisation", "rank", "clipped", "note", "target", "solver_fields", "grid_fields",
    "sde_fields", "noise_fields", "guidance_fields", "noise_version", "cell", "revision", "date",
    "machine",
]  # fmt: skip
FIXED = ["solver", "nfe", "samples", "block", "blocks", *SCORES, *PROTOCOL]
# Of the bias-removed value of all blocks together, which is a better one than the blocks' mean.
POOLED = ("fd_debiased", "fd_low", "fd_high", "standard_error", "note")


@dataclass(frozen=True)
class Comparison:
    """All of it.

    Attributes:
        rows: of every block. points: over all blocks. rankings: one an NFE, at the largest N.
        floors: by N, the rows of as many real held-out images.
        shown: uint8 images [K, C, H, W] of each (solver, NFE), same seeds. films: by solver.
        facts: what all numbers depend on.
    """

    rows: Sequence[Row]
    points: Sequence[Row]
    rankings: Sequence[Ranking]
    floors: Mapping[int, Row]
    shown: Mapping[tuple[str, str], Tensor]
    facts: Mapping[str, Any]
    films: Mapping[str, Film] = field(default_factory=dict)

    @property
    def metric(self) -> str:
        """What the distance is called: after its features, FID for Inception features alone."""
        return str(self.facts["metric"])

    @property
    def largest(self) -> int:
        """The largest number of samples."""
        return int(max(row["samples"] for row in self.points))

    @property
    def top(self) -> list[Row]:
        """The points at the largest number of samples."""
        return [row for row in self.points if row["samples"] == self.largest]

    @property
    def solvers(self) -> list[str]:
        """The labels, in the order in which they were asked for."""
        return list(dict.fromkeys(row["solver"] for row in self.points))


def measured(rows: Sequence[Row]) -> list[str]:
    """The names of the metrics beside the Fréchet distance: what is no fixed column."""
    return [name for name in rows[0] if name not in FIXED and not name.endswith("_sd")]


def point(rows: Sequence[Row], together: Row) -> Row:
    """One (solver, NFE, N) over its blocks: of each measured value the mean, and the standard
    deviation as VALUE_sd (None of a single block); ``together`` holds the pooled values."""
    pooled = {**rows[0], **{name: together[name] for name in POOLED}, "blocks": len(rows)}
    del pooled["block"]
    if len(rows) > 1:  # blocks follow each other
        pooled["seeds"] = f"{rows[0]['seeds'].split('-')[0]}-{rows[-1]['seeds'].split('-')[-1]}"
    for name in ["fd", "nfe", "seconds", "ms_per_image", *measured(rows)]:
        values = [row[name] for row in rows]
        complete = all(value is not None for value in values)
        pooled[name] = fmean(values) if complete else None
        pooled[f"{name}_sd"] = stdev(values) if complete and len(values) > 1 else None
    return pooled
