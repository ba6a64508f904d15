"""The plot of a row of EMA widths: loss at each noise level against the width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sde_diffusion.report.style import INK, SOFT, Plot, line, log_axes, marker, new_figure


def loss_vs_width(rows: Sequence[dict[str, Any]]) -> Plot:
    """Held-out loss over that of the best width, mean over noise levels: ``width``, ``loss``."""
    from matplotlib.ticker import MaxNLocator, ScalarFormatter

    figure = new_figure(2.8)
    axes = figure.add_subplot()
    best = min(row["loss"] for row in rows)
    x = [row["width"] for row in rows]
    y = [row["loss"] / best for row in rows]
    log_axes(axes, x, y)
    axes.set_yscale("linear")
    axes.set_ylim(1 - 0.08 * (max(y) - 1 or 0.01), max(y) + 0.12 * (max(y) - 1 or 0.01))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    formatter = ScalarFormatter(useOffset=False)  # as many digits as tell the ticks apart
    axes.yaxis.set_major_formatter(formatter)
    axes.plot(x, y, **line(0))
    plot = Plot("widths", figure)
    for row, height in zip(rows, y, strict=True):
        plot.point(
            axes,
            row["width"],
            height,
            f"width {row['width']:g}, loss {row['loss']:.5g}",
            "",
            **marker(0),
        )
    axes.set_xlabel("relative width of the EMA, sigma_rel", fontsize=8.5, color=SOFT)
    axes.set_title("held-out loss over the least", loc="left", fontsize=9.5, color=INK)
    figure.subplots_adjust(left=0.13, right=0.96, top=0.88, bottom=0.18)
    return plot
