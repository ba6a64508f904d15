"""The two plots of a comparison: distance against samples, distance against evaluations."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sde_diffusion.report.tables import Row, largest, metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito's palette, told apart by colour-blind readers; markers say it a second time.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]
STYLES = ["-", "--", ":", "-."]
FLOOR: dict[str, Any] = {"color": "#666666", "linestyle": "--", "label": "real images (floor)"}


def look(i: int) -> dict[str, Any]:
    """Colour, marker and line of the i-th solver; no two of the first 32 are alike."""
    turn = i // len(COLOURS)
    return {
        "color": COLOURS[i % len(COLOURS)],
        "marker": MARKERS[(i + 3 * turn) % len(MARKERS)],
        "linestyle": STYLES[turn % len(STYLES)],
        "markersize": 5,
    }


def spaced(values: Sequence[float], ratio: float) -> list[float]:
    """Increasing values, each at least ``ratio`` times the one before: ticks that do not touch."""
    kept: list[float] = []
    for value in sorted(values):
        if not kept or value >= ratio * kept[-1]:
            kept.append(value)
    return kept


def _axes(rows: Sequence[Row], xlabel: str, x: Sequence[float]) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

    # 4.4 inches: at the width of a phone the text is still 10 px high.
    figure = Figure(figsize=(4.4, 4.2), dpi=220, layout="constrained")
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(xlabel)
    axes.set_ylabel(metric(rows))
    values = [row[key] for row in rows for key in ("fd", "floor") if (row[key] or 0) > 0]
    if values:
        axes.set_ylim(0.6 * min(values), 1.6 * max(values))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    low, high = min(x), max(x)
    axes.set_xlim(low / (high / low) ** 0.06 / 1.04, high * (high / low) ** 0.06 * 1.04)
    ticks = spaced(x, max(1.04, (high / low) ** 0.11))
    axes.set_xticks(ticks, [f"{v:g}" for v in ticks])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(True, which="major", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(figure: Figure, columns: int) -> bytes:
    figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _solvers(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["solver"] for row in rows))


def _interval(axes: Axes, line: Sequence[Row], shift: float, colour: str) -> None:
    """Bias-removed values, hollow, each with its 95 % interval; what is not positive is cut off."""
    bottom = axes.get_ylim()[0]
    for row in (row for row in line if row["fd_low"] is not None and row["fd_high"] > bottom):
        x = row["samples"] * shift
        axes.plot([x, x], [max(row["fd_low"], bottom), row["fd_high"]], color=colour, alpha=0.6)
        if row["fd_debiased"] > bottom:
            axes.plot([x], [row["fd_debiased"]], "o", color=colour, mfc="white", markersize=4)


def fd_vs_samples(rows: Sequence[Row]) -> bytes:
    """Plug-in distance against N, each solver at its largest NFE, as lines; the bias-removed value
    hollow with its 95 % interval; the real floor dashed."""
    counts = sorted({row["samples"] for row in rows})
    names = _solvers(rows)
    top = {name: max(row["nfe"] for row in rows if row["solver"] == name) for name in names}
    shown = [row for row in rows if row["nfe"] == top[row["solver"]]]
    figure, axes = _axes(shown, "generated images N", counts)
    alike = len(set(top.values())) == 1
    spread = max(0.02, 0.05 * math.log10(counts[-1] / counts[0]))
    for i, name in enumerate(names):
        line = sorted((r for r in shown if r["solver"] == name), key=lambda r: r["samples"])
        axes.plot([r["samples"] for r in line], [r["fd"] for r in line], **look(i),
                  label=name if alike else f"{name}, NFE {top[name]:.4g}")  # fmt: skip
        # Side by side, so that intervals at the same N do not hide each other.
        _interval(axes, line, 10 ** (spread * ((i + 1) / (len(names) + 1) - 0.5)), look(i)["color"])
    floor = {row["samples"]: row["floor"] for row in rows if row["floor"] is not None}
    if floor:
        axes.plot(sorted(floor), [floor[n] for n in sorted(floor)], **FLOOR)
    if alike:
        axes.set_title(f"NFE {next(iter(top.values())):.4g}", loc="left", fontsize=9)
    return _png(figure, 3 if alike else 2)


def fd_vs_nfe(rows: Sequence[Row]) -> bytes:
    """Plug-in distance at the largest N against the evaluations measured at the network."""
    top = largest(rows)
    figure, axes = _axes(top, "network evaluations a sample (NFE)", [row["nfe"] for row in top])
    for i, name in enumerate(_solvers(top)):
        line = sorted((r for r in top if r["solver"] == name), key=lambda r: r["nfe"])
        axes.plot([r["nfe"] for r in line], [r["fd"] for r in line], label=name, **look(i))
    if top[0]["floor"] is not None:
        axes.axhline(top[0]["floor"], **FLOOR)
    axes.set_title(f"N = {top[0]['samples']}", loc="left", fontsize=9)
    return _png(figure, 3)
