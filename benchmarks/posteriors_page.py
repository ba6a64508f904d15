"""The tables of posteriors.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import render

Cells = Mapping[str, Mapping[str, Mapping[str, Any]]]
HEAD = ["method", "NFE", "backward", "mean", "spread", "covariance", "sliced W2", "50 %", "90 %"]
WIDE = 5.0  # times the right deviation


def average(numbers: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard error."""
    n, mean = len(numbers), sum(numbers) / len(numbers)
    squares = sum((x - mean) * (x - mean) for x in numbers)  # infinite, not an error, if diverged
    return mean, (squares / max(1, n - 1) / n) ** 0.5


def size(value: float) -> str:
    """Two digits, or that it diverged."""
    return f"{value:.2f}" if value < 1000 else "> 1000"


def row(name: str, found: Sequence[Mapping[str, Any]]) -> list[str]:
    """A method over some cells: each measurement counts once."""
    pooled = {k: [x for each in found for x in each[k]] for k in ("mean", "spread", "cov", "w2")}
    mean = max(0.0, average(pooled["mean"])[0]) ** 0.5
    # Draws far wider than they should be leave no sharp mean.
    cells = [f"{mean:.2f}" if average(pooled["spread"])[0] < WIDE**2 else "-"]
    cells += [size(average(pooled["spread"])[0] ** 0.5)]
    cells += [size(average(pooled[key])[0]) for key in ("cov", "w2")]
    for key in ("c50", "c90"):
        share, error = average([x for each in found for x in each[key]])
        cells.append(f"{100 * share:.0f} ± {100 * error:.0f}")
    first = found[0]
    return [name, f"{first['nfe']:g}", f"{first['back']:g}", *cells]


def overall(cells: Cells, prior: str) -> dict[str, Any]:
    """Every method over all operators and noise levels of one prior."""
    own = [cell for name, cell in cells.items() if name.startswith(prior)]
    return render.table(HEAD, [row(name, [cell[name] for cell in own]) for name in own[0]])


def coverage(cells: Cells) -> dict[str, Any]:
    """Coverage at 90 % and the error of the mean of each method in each cell."""
    names = list(cells)
    methods = list(cells[names[0]])
    rows = []
    for name in names:
        found = []
        for method in methods:
            share, _ = average(cells[name][method]["c90"])
            mean = max(0.0, average(cells[name][method]["mean"])[0]) ** 0.5
            wide = average(cells[name][method]["spread"])[0] >= WIDE**2
            found.append(f"{100 * share:.0f} ({'-' if wide else f'{mean:.1f}'})")
        rows.append([name, *found])
    return render.table(["cell", *methods], rows)


def one(cell: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Every method in one cell."""
    return render.table(HEAD, [row(name, [found]) for name, found in cell.items()])
