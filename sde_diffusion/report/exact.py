"""Exact errors against evaluations: their table, their plot and their page."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from sde_diffusion.report.style import INK, SOFT, log_axes, look

Row = dict[str, Any]  # solver, grid, nfe, steps, error, and more


def best(rows: Sequence[Row]) -> dict[int, Row]:
    """The row of least error at each NFE."""
    best_rows: dict[int, Row] = {}
    for row in rows:
        if row["nfe"] not in best_rows or row["error"] < best_rows[row["nfe"]]["error"]:
            best_rows[row["nfe"]] = row
    return dict(sorted(best_rows.items()))


def unique(rows: Sequence[Row], key: str) -> list[Any]:
    """The values of ``key``, each once, in the order of the rows."""
    return list(dict.fromkeys(row[key] for row in rows))


def cells(rows: Sequence[Row], columns: Sequence[int]) -> list[str]:
    """The errors of one line of a table, a dash where the budget buys no whole step."""
    at = {row["nfe"]: row["error"] for row in rows}
    return [f"{at[nfe]:.2g}" if nfe in at else "-" for nfe in columns]


def text_table(rows: Sequence[Row]) -> str:
    """Solvers against NFE, each cell the error on the best of the grids; * marks the best."""
    columns, top = sorted(unique(rows, "nfe")), best(rows)
    names = unique(rows, "solver")
    width = max(len(name) for name in names)
    lines = [" " * width + "".join(f"{f'NFE {nfe}':>11}" for nfe in columns)]
    for name in names:
        row_of = best([row for row in rows if row["solver"] == name])
        marks = ["*" if nfe in row_of and row_of[nfe] is top[nfe] else " " for nfe in columns]
        shown = zip(cells(list(row_of.values()), columns), marks, strict=True)
        lines.append(f"{name:<{width}}" + "".join(f"{cell + mark:>11}" for cell, mark in shown))
    return "\n".join(lines)


def table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Columns and lines: every solver on every grid against NFE."""
    budgets = sorted(unique(rows, "nfe"))
    pairs = dict.fromkeys((row["solver"], row["grid"]) for row in rows)
    lines = [
        [*pair, *cells([row for row in rows if (row["solver"], row["grid"]) == pair], budgets)]
        for pair in pairs
    ]
    return ["solver", "grid", *(f"NFE {nfe}" for nfe in budgets)], lines


def markdown_table(rows: Sequence[Row]) -> str:
    """Every solver on every grid against NFE, the best at each NFE in bold."""
    columns, top = sorted(unique(rows, "nfe")), best(rows)
    lines = ["| solver | grid | " + " | ".join(f"NFE {nfe}" for nfe in columns) + " |"]
    lines.append("| --- " * (len(columns) + 2) + "|")
    for solver in unique(rows, "solver"):
        for grid in unique(rows, "grid"):
            line = [row for row in rows if (row["solver"], row["grid"]) == (solver, grid)]
            winners = {row["nfe"] for row in line if row is top[row["nfe"]]}
            shown = [
                f"**{cell}**" if nfe in winners else cell
                for nfe, cell in zip(columns, cells(line, columns), strict=True)
            ]
            lines.append(f"| {solver} | {grid} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def page(rows: Sequence[Row], facts: Mapping[str, Any]) -> str:
    """analyse.md: what was done, the best at each NFE, the plot and the whole table."""
    winners = "\n".join(
        f"| {nfe} | {row['solver']} | {row['grid']} | {row['error']:.2g} | `{row['command']}` |"
        for nfe, row in best(rows).items()
    )
    return f"""# Exact error on the Gaussian of {facts["data"]}

The data are replaced by the Gaussian of their mean and covariance ({facts["images"]} images,
d = {facts["d"]}, {facts["modes"]}; fingerprint {facts["data_fingerprint"]}) and the network by its
exact denoiser. What is left is the error of the solver on its grid: the Wasserstein-2 distance of
the law that it makes to the exact one, over the root of the total variance. Nothing is sampled.

| NFE | solver | grid | error | command |
| --- | --- | --- | --- | --- |
{winners}

![error against evaluations](analyse.png)

{markdown_table(rows)}

{facts["machine"]}, {facts["date"]}, revision {facts["revision"]}.
"""


def panels(groups: Mapping[str, Sequence[Row]], line: str, title: str) -> bytes:
    """A PNG: error against NFE, log-log, a panel a group, all with the same axes.

    Args:
        groups: the rows of each panel by its title. line: the key that tells the lines apart.
    """
    from matplotlib.figure import Figure

    rows = [row for group in groups.values() for row in group if math.isfinite(row["error"])]
    columns = min(3, len(groups))
    height = math.ceil(len(groups) / columns)
    wide, high = (3.1, 2.9) if len(groups) > 1 else (5.2, 4.2)
    figure = Figure(figsize=(wide * columns + 1.4, high * height + 0.7), dpi=160)
    figure.set_layout_engine("constrained")
    axes = figure.subplots(height, columns, sharex=True, sharey=True, squeeze=False).flatten()
    names = unique(rows, line)
    errors = [row["error"] for row in rows]
    # An error far above one says no more than that a solver has failed.
    ends = [min(errors), min(max(errors), max(3.0, 3 * min(errors)))]
    for ax, (label, group) in zip(axes, groups.items(), strict=False):
        for i, name in enumerate(names):
            points = sorted((r for r in group if r[line] == name), key=lambda r: r["nfe"])
            ax.plot(
                [r["nfe"] for r in points],
                [r["error"] for r in points],
                label=name,
                **look(i),
                markersize=4.6,
                linewidth=1.5,
            )
        log_axes(ax, unique(rows, "nfe"), ends)
        ax.set_title(label, loc="left", fontsize=10, color=INK)
    for ax in axes[len(groups) :]:
        ax.set_axis_off()
    figure.supxlabel("network evaluations a sample (NFE)", fontsize=10, color=SOFT)
    figure.supylabel("relative Wasserstein-2 error", fontsize=10, color=SOFT)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold", color=INK)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
