"""A comparison as text, CSV and JSON."""

from __future__ import annotations

from typing import Any

from sde_diffusion.report.comparison import PROTOCOL, SCORES, Comparison, Row, measured
from sde_diffusion.report.ranking import Ranking
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


def marks(ranking: Ranking) -> dict[str, str]:
    """``*`` the smallest of several, ``~`` not distinguishable from it."""
    if len(ranking.standings) < 2:
        return {}
    return {ranking.best.solver: "*", **dict.fromkeys(ranking.alike, "~")}


def text_table(comparison: Comparison) -> str:
    """Solvers against NFE, plug-in distance at the largest N, with the marks of the ranking."""
    top = comparison.top
    nfes = sorted({row["nfe"] for row in top})
    at = {(row["solver"], row["nfe"]): row["fd"] for row in top}
    sign = {(s, r.nfe): mark for r in comparison.rankings for s, mark in marks(r).items()}
    names = comparison.solvers
    width = max(len(name) for name in names)
    lines = [" " * width + "".join(f"{f'NFE {nfe:.4g}':>12}" for nfe in nfes)]
    for name in names:
        cells = [
            f"{at[name, nfe]:.2f}{sign.get((name, nfe), ' ')}" if (name, nfe) in at else "- "
            for nfe in nfes
        ]
        lines.append(f"{name:<{width}}" + "".join(f"{cell:>12}" for cell in cells))
    floor = top[0]["floor"]
    known = "too few held-out images for a floor" if floor is None else f"real floor {floor:.2f}"
    title = f"{comparison.metric} at N = {comparison.largest}, {known}"
    legend = "* smallest at its NFE   ~ not distinguishable from it at this N"
    left_out = [f"left out: {line}" for line in comparison.facts.get("left_out", [])]
    return "\n".join([title, *lines, *([legend] if sign else []), *left_out])


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
