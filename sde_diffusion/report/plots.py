"""The plots of a comparison: distance against evaluations, against samples, against seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from sde_diffusion.metrics.inference import Z95
from sde_diffusion.report.comparison import REAL, Comparison, Row
from sde_diffusion.report.style import (
    BESIDE,
    FLOOR,
    INK,
    LINE,
    PANEL,
    PAPER,
    SOFT,
    Plot,
    brief,
    end_labels,
    line,
    log_axes,
    look,
    marker,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FAR = 30  # times the median distance
# What the marks of a plot mean; its caption says what is in it.
BARS = "Bars: where the value lies in 95 % of repetitions at this N."
DASHED = "Dashed: as many real images."
ABOVE = "An arrow at the top: a value above the axis, with its number."
OUT = "A small arrow at an edge: the interval goes on beyond it."
FRONT = "The grey path is the front: none is both faster and closer."
HOLLOW = "Hollow, with its 95 % interval: bias removed."
DOTTED = "Dotted: its last value, which is the one at infinite N."
BELOW = "A filled triangle at the bottom: a bias-removed value below the axis."
SHADED = "Shaded: one standard deviation over the blocks."
OTHERS = "Thin and grey: the other samplers."


def tip(row: Row, metric: str) -> str:
    """What a point says: the number, how sure it is, and where it came from."""
    parts = [
        f"{row['solver']}, NFE {row['nfe']:.4g}, N = {row['samples']}",
        f"{metric} {row['fd']:.4g}",
    ]
    if row["fd_debiased"] is not None:
        parts.append(
            f"bias removed {row['fd_debiased']:.3g} [{row['fd_low']:.3g}, {row['fd_high']:.3g}]"
        )
    parts.append(f"{row['ms_per_image']:.3g} ms an image; seeds {row['seeds']}; {row['grid']}")
    return "\n".join(parts)


def band(row: Row) -> tuple[float, float] | None:
    """Where the plug-in value lies in 95 % of repetitions at this N; None where that is unknown."""
    if row["standard_error"] is None:
        return None
    half = Z95 * row["standard_error"]
    return row["fd"] - half, row["fd"] + half


def _lines(plot: Plot, axes: Axes, comparison: Comparison, key: str) -> None:
    """A line a solver of the plug-in distance at the largest N, with 95 % bars and its name."""
    ends = []
    top = axes.get_ylim()[1]
    for i, name in enumerate(comparison.solvers):
        rows = sorted((r for r in comparison.top if r["solver"] == name), key=lambda r: r[key])
        axes.plot([r[key] for r in rows], [r["fd"] for r in rows], **line(i), gid=plot.of(name))
        for row in rows:
            _mark(plot, axes, row[key], row, tip(row, comparison.metric), i)
        ends.append((name, rows[-1][key], min(rows[-1]["fd"], top / 1.05), look(i)["color"]))
    floor = comparison.top[0]["floor"]
    if floor is not None:
        axes.axhline(floor, **FLOOR)
        ends.append((REAL, axes.get_xlim()[1], floor, SOFT))
        plot.explain(DASHED)
    end_labels(plot, axes, ends)


def _mark(plot: Plot, axes: Axes, x: float, row: Row, label: str, i: int) -> None:
    """The marker of a row with its bar; of one far above the axis an arrow with its number."""
    name, colour, top = row["solver"], look(i)["color"], axes.get_ylim()[1]
    if row["fd"] > top:
        plot.point(axes, x, top / 1.05, label, name, **{**marker(i), "marker": "^"})
        text = f"{row['fd']:.3g}" if row["fd"] < 1000 else f"{row['fd']:,.0f}"
        offset: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8}
        axes.annotate(text, (x, top / 1.05), (6, -2), color=colour, gid=plot.of(name), **offset)
        plot.explain(ABOVE)
        return
    if (interval := band(row)) is not None:
        plot.explain(BARS)
        thick = {"linewidth": 3.2, "alpha": 0.28, "solid_capstyle": "butt", "zorder": 2}
        bar(plot, axes, x, interval, name, color=colour, **thick)
    plot.point(axes, x, row["fd"], label, name, **marker(i))


def bar(
    plot: Plot, axes: Axes, x: float, interval: tuple[float, float], solver: str, **look: Any
) -> None:
    """An upright bar; an end that the axis does not hold is an arrow at the edge."""
    bottom, top = axes.get_ylim()
    low, high = (min(max(end, bottom), top) for end in interval)
    axes.plot([x] * 2, [low, high], gid=plot.of(solver), **look)
    for beyond, edge, arrow in (
        (interval[0] < bottom, bottom * 1.03, "v"),
        (interval[1] > top, top / 1.03, "^"),
    ):
        if beyond:
            plot.explain(OUT)
            axes.plot(
                [x],
                [edge],
                arrow,
                color=look["color"],
                markersize=3,
                zorder=2,
                clip_on=False,
                gid=plot.of(solver),
            )


def _values(rows: Sequence[Row]) -> list[float]:
    """What the y axis must hold: distances, floors and bars, as far as a log axis can.

    What lies far above most is left to an arrow: it would press the others together.
    """
    heights = [row[key] for row in rows for key in ("fd", "floor") if (row[key] or 0) > 0]
    heights += [end for row in rows for end in (band(row) or ()) if end > 0.5 * row["fd"]]
    most = FAR * median([row["fd"] for row in rows])
    return [value for value in heights if value <= most] or [1.0]


def _whole(plot: Plot, comparison: Comparison, xlabel: str, x: Sequence[float]) -> Axes:
    """The one pair of axes of a plot, with room for the names at the right."""
    widest = max(len(name) for name in [*comparison.solvers, REAL])
    right = 1 - (0.062 * min(widest, BESIDE) + 0.16) / plot.figure.get_figwidth()
    axes = plot.figure.add_axes((0.115, 0.135, right - 0.115, 0.775))
    log_axes(axes, x, _values(comparison.top))
    axes.set_xlabel(xlabel, fontsize=8.5, color=SOFT)
    axes.set_title(
        f"{comparison.metric}, N = {comparison.largest}",
        loc="left",
        fontsize=9,
        color=INK,
        x=-0.12,
        fontweight="bold",
    )
    return axes


def fd_vs_nfe(comparison: Comparison) -> Plot:
    """Plug-in distance at the largest N against the evaluations measured at the network."""
    plot = Plot("fd_vs_nfe", new_figure(3.3))
    axes = _whole(
        plot,
        comparison,
        "network evaluations a sample (NFE)",
        [row["nfe"] for row in comparison.top],
    )
    plot.explain("Against evaluations, counted at the network.")
    _lines(plot, axes, comparison, "nfe")
    return plot


def front(rows: Sequence[Row]) -> list[Row]:
    """The rows than which none is both faster and better, fastest first."""
    kept: list[Row] = []
    for row in sorted(rows, key=lambda r: (r["ms_per_image"], r["fd"])):
        if not kept or row["fd"] < kept[-1]["fd"]:
            kept.append(row)
    return kept


def round_numbers(low: float, high: float) -> list[float]:
    """Round numbers in low .. high for a log axis: three a decade, or more where it is short,
    and where there is none the middle."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    numbers: list[float] = []
    for steps in ((1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)):
        numbers = [m * 10.0**k for k in decades for m in steps if low <= m * 10.0**k <= high]
        if len(numbers) >= 3:
            break
    return numbers or [float(f"{math.sqrt(low * high):.3g}")]


def fd_vs_seconds(comparison: Comparison) -> Plot:
    """Plug-in distance at the largest N against the time an image took; the front shaded."""
    plot = Plot("fd_vs_seconds", new_figure(3.3))
    times = [row["ms_per_image"] for row in comparison.top]
    axes = _whole(plot, comparison, "milliseconds an image", [min(times), max(times)])
    shown = round_numbers(*axes.get_xlim())
    axes.set_xticks(shown, [f"{t:g}" for t in shown])
    axes.grid(True, axis="x", color=LINE, linewidth=0.6)
    plot.explain("Against the time that an image took on this machine.")
    plot.explain(FRONT)
    best = front(comparison.top)
    right = axes.get_xlim()[1]
    axes.step(
        [r["ms_per_image"] for r in best] + [right],
        [r["fd"] for r in best] + [best[-1]["fd"]],
        where="post",
        color=SOFT,
        linewidth=5,
        alpha=0.18,
        zorder=1,
    )
    _lines(plot, axes, comparison, "ms_per_image")
    return plot


def fd_vs_samples(comparison: Comparison) -> Plot:
    """Distance against N, a panel a solver at its largest NFE: plug-in as a line, the bias-removed
    value hollow with its 95 % band, its last value as an asymptote, real images dashed."""
    names = comparison.solvers
    columns = min(2, len(names))
    lines = math.ceil(len(names) / columns)
    height = 0.55 + lines * (1.5 if columns > 1 else 2.6)
    plot = Plot("fd_vs_samples", new_figure(height))
    top = {n: max(r["nfe"] for r in comparison.points if r["solver"] == n) for n in names}
    points = sorted(comparison.points, key=lambda row: row["samples"])
    of = {
        name: [r for r in points if r["solver"] == name and r["nfe"] == top[name]] for name in names
    }
    shown = [row for rows in of.values() for row in rows]
    counts = sorted({row["samples"] for row in shown})
    values = _values_and_bands(shown)
    if len(names) > 1 and len(counts) > 1:  # of one N no line is drawn
        plot.explain(OTHERS)
    axes_of = plot.figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    margins = {"left": 0.115, "right": 0.985, "top": 1 - 0.26 / height, "bottom": 0.44 / height}
    plot.figure.subplots_adjust(**margins, wspace=0.08, hspace=0.32)
    for k, axes in enumerate(axes_of.flat):
        if k >= len(names):
            axes.set_visible(False)
            continue
        name = names[k]
        log_axes(axes, counts, values, 0.16 if columns > 1 else 0.1)
        for other in names:
            rows = of[other]
            axes.plot([r["samples"] for r in rows], [r["fd"] for r in rows], color=LINE, lw=1)
        _panel(plot, axes, comparison, k, of[name])
        most = PANEL if columns > 1 else BESIDE
        title = {"loc": "left", "fontsize": 8.5, "fontweight": "bold", "pad": 3}
        axes.set_title(f"{brief(name, most)}, NFE {top[name]:.4g}", color=look(k)["color"], **title)
        last_in_column = k + columns >= len(names)
        axes.tick_params(labelbottom=last_in_column, labelleft=k % columns == 0)
    plot.figure.supxlabel("generated images N", fontsize=8.5, color=SOFT, y=0.1 / height)
    return plot


def _values_and_bands(rows: Sequence[Row]) -> list[float]:
    """What an axis must show: all values, and lower ends that do not lie far below them."""
    values = _values(rows)
    ends = [v for row in rows for v in (row["fd_debiased"], row["fd_low"]) if v is not None]
    return values + [v for v in ends if v > 0.3 * min(values)]


def _panel(plot: Plot, axes: Axes, comparison: Comparison, i: int, rows: Sequence[Row]) -> None:
    """One solver against N."""
    colour, bottom, name = look(i)["color"], axes.get_ylim()[0], rows[0]["solver"]
    x = [row["samples"] for row in rows]
    axes.plot(x, [row["fd"] for row in rows], **line(i), gid=plot.of(name))
    if all(row["fd_sd"] is not None for row in rows):
        plot.explain(SHADED)
        axes.fill_between(
            x,
            [max(bottom, r["fd"] - r["fd_sd"]) for r in rows],
            [r["fd"] + r["fd_sd"] for r in rows],
            color=colour,
            alpha=0.35,
            linewidth=0,
        )
    floor = [(row["samples"], row["floor"]) for row in rows if row["floor"] is not None]
    if floor:
        plot.explain(DASHED)
        # A floor at one N alone is a short dash, not an invisible line of one point.
        ends = floor if len(floor) > 1 else [(n * k, v) for k in (0.9, 1.1) for n, v in floor]
        axes.plot([n for n, _ in ends], [v for _, v in ends], **FLOOR)
    bounded = [row for row in rows if row["fd_low"] is not None]
    if len(bounded) > 1:
        low, high = ([max(bottom, row[end]) for row in bounded] for end in ("fd_low", "fd_high"))
        axes.fill_between(
            [r["samples"] for r in bounded], low, high, color=colour, alpha=0.16, linewidth=0
        )
    for row in bounded:
        _without_bias(plot, axes, row, name, colour)
    if bounded and bounded[-1]["fd_debiased"] > bottom:
        plot.explain(DOTTED)
        axes.axhline(bounded[-1]["fd_debiased"], color=colour, linestyle=(0, (1, 2)), lw=1.1)
    for row in rows:
        plot.point(axes, row["samples"], row["fd"], tip(row, comparison.metric), name, **marker(i))


def _without_bias(plot: Plot, axes: Axes, row: Row, name: str, colour: str) -> None:
    """The bias-removed value of one N with its interval."""
    bottom = axes.get_ylim()[0]
    inside = row["fd_debiased"] > bottom
    plot.explain(HOLLOW if inside else BELOW)
    # The triangle of a value below the axis would hide the arrow of its interval.
    low = row["fd_low"] if inside else max(bottom, row["fd_low"])
    interval = low, max(low, row["fd_high"])
    bar(plot, axes, row["samples"], interval, name, color=colour, lw=1, alpha=0.6)
    look: dict[str, Any] = {"color": colour, "mfc": PAPER if inside else colour}
    look |= {"markersize": 4, "markeredgewidth": 1, "zorder": 5, "clip_on": False}
    x, y = [row["samples"]], [max(row["fd_debiased"], bottom * 1.03)]
    shape = "o" if inside else "v"
    axes.plot(x, y, shape, **look, gid=plot.of(name))
