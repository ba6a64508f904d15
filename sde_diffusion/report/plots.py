"""The two plots of a comparison: distance against samples, distance against evaluations."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sde_diffusion.report.tables import Row, largest

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito's palette, told apart by colour-blind readers; markers say it a second time.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]
STYLES = ["-", "--", ":", "-."]


def _axes(rows: Sequence[Row], xlabel: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = Figure(figsize=(5.6, 4.2), dpi=200, layout="constrained")
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(xlabel)
    axes.set_ylabel(f"FD[{rows[0]['extractor']}]")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(True, which="major", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _ticks(axes: Axes, values: Sequence[float]) -> None:
    from matplotlib.ticker import NullFormatter, NullLocator

    axes.set_xticks(list(values), [f"{v:g}" for v in values])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_minor_locator(NullLocator())


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _solvers(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["solver"] for row in rows))


def fd_vs_samples(rows: Sequence[Row]) -> bytes:
    """Plug-in distance (solid) against N, each solver at its largest NFE; bias-removed value dotted
    with its 95 % band; the real floor dashed."""
    figure, axes = _axes(rows, "generated images N")
    floor = {row["samples"]: row["floor"] for row in rows if row["floor"] is not None}
    for i, name in enumerate(_solvers(rows)):
        own = [row for row in rows if row["solver"] == name]
        nfe = max(row["nfe"] for row in own)
        line = sorted((r for r in own if r["nfe"] == nfe), key=lambda r: r["samples"])
        colour = COLOURS[i % len(COLOURS)]
        axes.plot([r["samples"] for r in line], [r["fd"] for r in line], color=colour,
                  marker=MARKERS[i % len(MARKERS)], label=f"{name}, NFE {nfe:.4g}")  # fmt: skip
        known = [r for r in line if r["fd_low"] is not None and r["fd_debiased"] > 0]
        if known:
            x = [r["samples"] for r in known]
            low = [max(r["fd_low"], 0.02 * r["fd_debiased"]) for r in known]
            axes.plot(x, [r["fd_debiased"] for r in known], color=colour, linestyle=":")
            axes.fill_between(x, low, [r["fd_high"] for r in known], color=colour, alpha=0.12)
    if floor:
        axes.plot(
            list(floor),
            list(floor.values()),
            color="#666666",
            linestyle="--",
            label="real images (floor)",
        )
    _ticks(axes, sorted({row["samples"] for row in rows}))
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return _png(figure)


def fd_vs_nfe(rows: Sequence[Row]) -> bytes:
    """Plug-in distance at the largest N against the evaluations measured at the network."""
    top = largest(rows)
    figure, axes = _axes(top, "network evaluations a sample (NFE)")
    for i, name in enumerate(_solvers(top)):
        line = sorted((r for r in top if r["solver"] == name), key=lambda r: r["nfe"])
        axes.plot([r["nfe"] for r in line], [r["fd"] for r in line], label=name,
                  color=COLOURS[i % len(COLOURS)], marker=MARKERS[i % len(MARKERS)],
                  linestyle=STYLES[i // len(COLOURS) % len(STYLES)])  # fmt: skip
    if top[0]["floor"] is not None:
        axes.axhline(top[0]["floor"], color="#666666", linestyle="--", label="real images (floor)")
    _ticks(axes, sorted({round(row["nfe"]) for row in top}))
    axes.set_title(f"N = {top[0]['samples']}", loc="left", fontsize=9)
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return _png(figure)
