"""The plot of ``adaptive.py``, and what it shows in two numbers."""

from __future__ import annotations

import io

from adaptive_problems import TUNED
from adaptive_solved import HELD_OUT, REQUESTS

from sde_diffusion.report.style import INK, SOFT, line, log_axes


def plot(curves: dict[str, list[list[float]]]) -> bytes:
    """Endpoint error against request, the middle 90 % as a band, a panel a problem."""
    from matplotlib.figure import Figure

    names = [TUNED, *HELD_OUT]
    figure = Figure(figsize=(9.4, 3.3), dpi=160, layout="constrained")
    for ax, (i, name) in zip(figure.subplots(1, 3, sharey=True), enumerate(names), strict=True):
        low, median, high = zip(*curves[name], strict=True)
        ax.plot(REQUESTS, REQUESTS, color=SOFT, linewidth=1, linestyle="--", label="asked for")
        ax.plot(REQUESTS, [0.02 * e for e in REQUESTS], color=SOFT, linewidth=1, linestyle=":",
                label="0.02 of it")  # fmt: skip
        ax.fill_between(REQUESTS, low, high, color=line(i)["color"], alpha=0.25, linewidth=0)
        ax.plot(REQUESTS, median, **line(i))
        log_axes(ax, REQUESTS, [1e-7, 0.1])
        ax.set_title(name, loc="left", fontsize=10, color=INK)
    figure.axes[0].legend(frameon=False, fontsize=8)
    figure.supxlabel("requested endpoint error", fontsize=10, color=SOFT)
    figure.supylabel("found: 5, 50, 95 % of samples", fontsize=10, color=SOFT)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def kept(curves: dict[str, list[list[float]]], names: list[str]) -> str:
    """The least median and the largest 95 % quantile over the requests."""
    ratios = [[q / e for q in found] for name in names
              for e, found in zip(REQUESTS, curves[name], strict=True)]  # fmt: skip
    return (f"{min(median for _, median, _ in ratios):.2g} and "
            f"{max(high for _, _, high in ratios):.2g}")  # fmt: skip
