"""A comparison as text, CSV and JSON."""

from __future__ import annotations

from typing import Any

from sde_diffusion.report.comparison import PROTOCOL, SCORES, Comparison, Row, measured
from sde_diffusion.system.storage import csv_text

FORMAT = 2
# The same for all rows, beside each number so that a table alone says where it came from.
SHARED = [
    "model_fingerprint", "extractor_fingerprint", "reference", "reference_fingerprint",
    "reference_n", "label",
]  # fmt: skip


def columns(comparison: Comparison) -> list[str]:
    """The columns of results.csv: what was measured first, what it depends on after it."""
    extra = measured(comparison.rows)
    return ["solver", "nfe", "samples", "block", *SCORES, *extra, *PROTOCOL]


def cell_line(row: Row) -> str:
    """One finished cell, as a line of the running table."""
    band = "" if row["fd_low"] is None else f" [{row['fd_low']:.2f}, {row['fd_high']:.2f}]"
    unbiased = (
        "" if row["fd_debiased"] is None else f"   bias removed {row['fd_debiased']:8.2f}{band}"
    )
    block = f"   block {row['block']}" if row["block"] else ""
    return (
        f"{row['solver']:<20} NFE {row['nfe']:>6.4g}   N {row['samples']:>6}{block}   "
        f"FD {row['fd']:8.2f}   {row['seconds']:6.1f} s{unbiased}"
    )


def csv_of(comparison: Comparison) -> str:
    """results.csv: a line a row, with the protocol's fields on each."""
    names = columns(comparison)
    shared = {name: comparison.facts.get(name) for name in SHARED}
    rows = [{**shared, **{n: row[n] for n in names}} for row in comparison.rows]
    return csv_text(rows, [*names, *SHARED])


def content(comparison: Comparison) -> dict[str, Any]:
    """results.json."""
    return {
        "format": FORMAT,
        "provenance": dict(comparison.facts),
        "rows": list(comparison.rows),
        "points": list(comparison.points),
        "rankings": [ranking.plain() for ranking in comparison.rankings],
        "floors": list(comparison.floors.values()),
    }


def standings(comparison: Comparison) -> list[Row]:
    """The rankings as rows of one table."""
    return [
        {"nfe": ranking.nfe, "samples": ranking.samples, **standing}
        for ranking in comparison.rankings
        for standing in ranking.plain()["standings"]
    ]
