"""Rows of a comparison as text, CSV and JSON.

A row is one (solver, NFE, N): the keys of ``COLUMNS``, with None where a value is not there.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

FORMAT = 1
COLUMNS = [
    "solver", "nfe", "samples", "fd", "fd_debiased", "fd_low", "fd_high", "floor", "seconds",
    "nfe_asked", "steps", "order", "stochastic", "couples_batch", "grid", "sde", "extractor",
    "model", "dtype", "device", "seed_first", "rank", "target", "note",
]  # fmt: skip
# The same for all rows, beside each number so that a table alone says where it came from.
PROTOCOL = [
    "model_fingerprint", "extractor_fingerprint", "reference", "reference_fingerprint",
    "reference_n", "seeds", "label", "revision", "date",
]  # fmt: skip
Row = dict[str, Any]


def metric(rows: Sequence[Row]) -> str:
    """What the distance is called: after its features, never FID."""
    return f"FD[{rows[0]['extractor']}]"


def largest(rows: Sequence[Row]) -> list[Row]:
    """The rows at the largest number of samples."""
    top = max(row["samples"] for row in rows)
    return [row for row in rows if row["samples"] == top]


def best_by_nfe(rows: Sequence[Row]) -> dict[float, Row]:
    """The row of smallest distance at each measured NFE, at the largest number of samples.

    An adaptive solver is often the only one at its NFE: ``rivals`` says against whom.
    """
    found: dict[float, Row] = {}
    for row in largest(rows):
        if row["nfe"] not in found or row["fd"] < found[row["nfe"]]["fd"]:
            found[row["nfe"]] = row
    return dict(sorted(found.items()))


def rivals(rows: Sequence[Row], row: Row) -> list[Row]:
    """The other solvers' rows at the same NFE and number of samples."""
    at = (row["nfe"], row["samples"])
    return [r for r in rows if (r["nfe"], r["samples"]) == at and r["solver"] != row["solver"]]


def cell_line(row: Row) -> str:
    """One finished cell, as a line of the running table."""
    band = "" if row["fd_low"] is None else f" [{row['fd_low']:.2f}, {row['fd_high']:.2f}]"
    unbiased = (
        "" if row["fd_debiased"] is None else f"   bias removed {row['fd_debiased']:8.2f}{band}"
    )
    return (
        f"{row['solver']:<20} NFE {row['nfe']:>6.4g}   N {row['samples']:>6}   "
        f"FD {row['fd']:8.2f}   {row['seconds']:6.1f} s{unbiased}"
    )


def text_table(rows: Sequence[Row]) -> str:
    """Solvers against NFE, plug-in distance at the largest N; * marks the best of several."""
    top = largest(rows)
    columns = sorted({row["nfe"] for row in top})
    at = {(row["solver"], row["nfe"]): row["fd"] for row in top}
    best = {n: row["solver"] for n, row in best_by_nfe(rows).items() if rivals(top, row)}
    names = list(dict.fromkeys(row["solver"] for row in top))
    width = max(len(name) for name in names)
    lines = [" " * width + "".join(f"{f'NFE {nfe:.4g}':>12}" for nfe in columns)]
    for name in names:
        cells = [
            f"{at[name, nfe]:.2f}{'*' if best.get(nfe) == name else ' '}"
            if (name, nfe) in at
            else "- "
            for nfe in columns
        ]
        lines.append(f"{name:<{width}}" + "".join(f"{cell:>12}" for cell in cells))
    floor = top[0]["floor"]
    known = "too few held-out images for a floor" if floor is None else f"real floor {floor:.2f}"
    return "\n".join([f"{metric(top)} at N = {top[0]['samples']}, {known}", *lines])


def csv_bytes(rows: Sequence[Row], provenance: Mapping[str, Any]) -> bytes:
    """results.csv: a line a row, with the protocol's fields on each."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS + PROTOCOL, lineterminator="\n")
    writer.writeheader()
    protocol = {name: provenance.get(name) for name in PROTOCOL}
    writer.writerows({**protocol, **{name: row[name] for name in COLUMNS}} for row in rows)
    return text.getvalue().encode()


def json_bytes(rows: Sequence[Row], provenance: Mapping[str, Any]) -> bytes:
    """results.json."""
    content = {"format": FORMAT, "provenance": dict(provenance), "rows": list(rows)}
    return (json.dumps(content, indent=1) + "\n").encode()
