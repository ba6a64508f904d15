"""How the plots look: one figure, as PNG on white and as SVG that follows the page's colours."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, LINE, PAPER = "#1b1f24", "#59636e", "#d5dae0", "#ffffff"
# Okabe & Ito's palette, told apart by colour-blind readers; markers say it a second time. The
# second colour is what the first becomes on a dark page.
PALETTE = {
    "#0072b2": "#58a9e8",
    "#d55e00": "#ff8a3c",
    "#009e73": "#2fc99b",
    "#cc79a7": "#e79cc6",
    "#e69f00": "#f5bb3d",
    "#56b4e9": "#8fd3ff",
    "#333333": "#f2f2f2",
    "#8c6d1f": "#c9a94f",
}
COLOURS = list(PALETTE)
# All colours of a figure on a dark page.
DARK = PALETTE | {INK: "#e6e9ed", SOFT: "#9aa4af", LINE: "#333b44", PAPER: "#14181d"}
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]
STYLES = ["-", "--", ":", "-."]
FLOOR: dict[str, Any] = {"color": SOFT, "linestyle": (0, (4, 3)), "linewidth": 1.1, "zorder": 1}
WIDTH = 4.6  # inches: at the width of a phone the text is still 9 px high
BESIDE, PANEL = 24, 16  # most letters of a name beside a plot, and above one of two panels


@dataclass
class Plot:
    """A figure, what its points say when they are pointed at, and what its marks mean.

    Attributes:
        tips: by the id of a point. series: the solver of an artist, by its id.
        caption: sentences, of what is in the plot alone.
    """

    name: str
    figure: Figure
    tips: dict[str, str] = field(default_factory=dict)
    series: dict[str, str] = field(default_factory=dict)
    caption: list[str] = field(default_factory=list)

    def explain(self, sentence: str) -> None:
        """One more sentence of the caption, said once."""
        if sentence not in self.caption:
            self.caption.append(sentence)

    def of(self, solver: str) -> str:
        """The id of one more artist that belongs to a solver."""
        gid = f"{self.name}-of-{len(self.series)}"
        self.series[gid] = solver
        return gid

    def point(self, axes: Axes, x: float, y: float, tip: str, solver: str, **look: Any) -> None:
        """A marker of a solver that says ``tip``."""
        gid = self.of(solver)
        self.tips[gid] = tip
        axes.plot([x], [y], gid=gid, **look)

    def file(self, kind: str) -> bytes:
        """On white: ``png``, ``svg`` or ``pdf``, the latter two without a date."""
        import matplotlib

        buffer = io.BytesIO()
        undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
        with matplotlib.rc_context({"svg.hashsalt": self.name, "pdf.fonttype": 42}):
            self.figure.savefig(buffer, format=kind, metadata=undated)
        return buffer.getvalue()

    @property
    def dark(self) -> bytes:
        """As PNG for a dark page; a figure's colours stay as they are."""
        self.figure.draw_without_rendering()  # which makes the ticks
        recolour(self.figure, DARK)
        try:
            return self.file("png")
        finally:
            recolour(self.figure, {dark: light for light, dark in DARK.items()})

    @property
    def element(self) -> str:
        """An <svg> element without a background, its colours those of the page's style."""
        import matplotlib

        buffer = io.StringIO()
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": self.name}):
            self.figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
        text = buffer.getvalue()
        text = text[text.index("<svg") :]
        text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
        text = re.sub(r"font: ([\d. a-z]*?)([\d.]+px) [^;\"]*", r"font: \1\2 var(--font)", text)
        # The width and height in points would stop it from filling its column.
        text = re.sub(r'(<svg [^>]*?) (?:width|height)="[^"]*"', r"\1", text, count=1)
        text = re.sub(r'(<svg [^>]*?) (?:width|height)="[^"]*"', r"\1", text, count=1)
        for name, colour in variables().items():
            text = re.sub(re.escape(colour), f"var(--{name})", text, flags=re.IGNORECASE)
        for gid, solver in self.series.items():
            marks = f'data-solver="{html.escape(solver)}"'
            if gid in self.tips:
                marks += f' class="tip" data-tip="{html.escape(self.tips[gid])}"'
            text = text.replace(f'<g id="{gid}">', f"<g {marks}>")
        return text


def variables() -> Mapping[str, str]:
    """The colours of a figure, by the name that they have in the page's style."""
    fixed = {"ink": INK, "soft": SOFT, "line": LINE, "paper": PAPER}
    return fixed | {f"c{i}": c for i, c in enumerate(COLOURS)}


def recolour(figure: Figure, colours: Mapping[str, str]) -> None:
    """Give all that is drawn the colours that stand in the places of its own."""
    from matplotlib.colors import to_hex

    for artist in figure.findobj():
        for name in ("color", "edgecolor", "facecolor"):
            colour = getattr(artist, f"get_{name}", str)()
            if isinstance(colour, (str, tuple)) and colour and to_hex(colour) in colours:
                getattr(artist, f"set_{name}")(colours[to_hex(colour)])


def look(i: int) -> dict[str, Any]:
    """Colour, marker and line of the i-th solver; no two of the first 32 are alike."""
    turn = i // len(COLOURS)
    return {
        "color": COLOURS[i % len(COLOURS)],
        "marker": MARKERS[(i + 3 * turn) % len(MARKERS)],
        "linestyle": STYLES[turn % len(STYLES)],
    }


def line(i: int) -> dict[str, Any]:
    """The line of the i-th solver, without markers."""
    return {**look(i), "marker": "", "linewidth": 1.5, "zorder": 3}


def marker(i: int) -> dict[str, Any]:
    """A marker of the i-th solver."""
    return {**look(i), "linestyle": "", "markersize": 4.6, "markeredgewidth": 1.2, "zorder": 4}


def new_figure(height: float) -> Figure:
    """An empty figure of the report's width."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), dpi=220)


def spaced(values: Sequence[float], ratio: float) -> list[float]:
    """Increasing values, each at least ``ratio`` times the one before: ticks that do not touch."""
    kept: list[float] = []
    for value in sorted(values):
        if not kept or value >= ratio * kept[-1]:
            kept.append(value)
    return kept


def log_axes(axes: Axes, x: Sequence[float], y: Sequence[float], gap: float = 0.1) -> None:
    """Log-log axes around the values, ticks at those of ``x``, at least ``gap`` of the width
    apart."""
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(0.7 * min(y), 1.4 * max(y))
    # One digit a decade where there are many, three where there are few.
    subs = (1, 2, 5) if max(y) / min(y) < 300 else (1,)
    axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    low, high = min(x), max(x)
    pad = (high / low) ** 0.05 * 1.05
    axes.set_xlim(low / pad, high * pad)
    ticks = spaced(x, max(1.04, (high * pad**2 / low) ** gap))
    axes.set_xticks(ticks, [f"{v:g}" for v in ticks])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.tick_params(labelsize=8, colors=SOFT, length=0)
    axes.grid(True, which="major", color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(LINE)


def spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The positions moved as little as keeps them ``gap`` apart and, if they fit, within low ..
    high; in the order in which they came."""
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    gap = min(gap, (high - low) / max(1, len(positions) - 1))
    # Blocks of labels that touch, each centred on the mean of what its labels want.
    blocks: list[list[int]] = []
    for i in order:
        blocks.append([i])
        while len(blocks) > 1 and _start(blocks[-1], positions, gap, low, high) < (
            _start(blocks[-2], positions, gap, low, high) + gap * len(blocks[-2]) - 1e-9
        ):
            last = blocks.pop()
            blocks[-1] += last
    places = [0.0] * len(positions)
    for block in blocks:
        start = _start(block, positions, gap, low, high)
        for k, i in enumerate(block):
            places[i] = start + k * gap
    return places


def _start(
    block: Sequence[int], positions: Sequence[float], gap: float, low: float, high: float
) -> float:
    centre = sum(positions[i] for i in block) / len(block)
    reach = gap * (len(block) - 1)
    return min(max(centre - reach / 2, low), high - reach)


def brief(name: str, most: int = BESIDE) -> str:
    """A name as there is room for it, beside a plot or above a panel: of a long one its ends."""
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[: most - 1 - half]}…{name[-half:]}"


def end_labels(plot: Plot, axes: Axes, ends: Sequence[tuple[str, float, float, str]]) -> None:
    """Each line's name to the right of the axes, at the height of its end (name, x, y, colour)."""
    height = axes.get_window_extent().height / axes.figure.dpi * 72
    to_axes = axes.transData + axes.transAxes.inverted()
    at = [to_axes.transform((x, y)) for _, x, y, _ in ends]
    heights = spread([float(y) for _, y in at], 10.5 / height, 0.02, 0.98)
    for (name, _, _, colour), (x, y), where in zip(ends, at, heights, strict=True):
        axes.plot(
            [x + 0.012, 1.0, 1.025],
            [y, where, where],
            transform=axes.transAxes,
            color=colour,
            linewidth=0.6,
            alpha=0.55,
            clip_on=False,
            zorder=2,
            gid=plot.of(name),
        )
        axes.text(
            1.035,
            where,
            brief(name),
            transform=axes.transAxes,
            color=colour,
            fontsize=8.5,
            va="center_baseline",
            ha="left",
            gid=plot.of(name),
        )
