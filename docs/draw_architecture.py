"""Draws ``docs/architecture.png`` from the imports of the package.

A box is a folder. It stands one floor above the highest folder that it imports. An arrow leads from
a folder to one that it imports, unless that one can also be reached through another arrow. The
picture's file keeps the arrows as JSON, so that a test can tell whether it is of today.
"""

from __future__ import annotations

import ast
import json
from functools import cache
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.patches import FancyBboxPatch

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "sde_diffusion"
# The folders that every other one may use; an arrow to each would hide the rest.
EVERYBODY = {"errors", "system", "config"}
INK, PAPER, BOX, LINE = "#1d2733", "#ffffff", "#e8eef5", "#7d8fa3"


def imports() -> dict[str, set[str]]:
    """The folders that each folder imports."""
    arrows: dict[str, set[str]] = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        place = path.relative_to(ROOT / PACKAGE)
        room = place.parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        found = arrows.setdefault(room, set())
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                parts = node.module.split(".")
                names = parts[1:2] or [alias.name for alias in node.names]
                found |= set(names) - {room} if parts[0] == PACKAGE else set()
    arrows["cli"] |= {"face"} & arrows.keys()  # it imports tasks by name, when one is asked for
    return {room: found & arrows.keys() for room, found in arrows.items()}


def floors(arrows: dict[str, set[str]]) -> dict[str, int]:
    """One above the highest that is imported."""

    @cache
    def floor(room: str) -> int:
        return 1 + max((floor(other) for other in arrows[room]), default=-1)

    return {room: floor(room) for room in arrows}


def direct(arrows: dict[str, set[str]]) -> dict[str, set[str]]:
    """The arrows without those that a longer way replaces."""

    @cache
    def below(room: str) -> frozenset[str]:
        return frozenset(arrows[room]).union(*(below(other) for other in arrows[room]))

    return {
        room: {o for o in others if not any(o in below(p) for p in others if p != o)}
        for room, others in arrows.items()
    }


def places(rooms: dict[str, int], arrows: dict[str, list[str]]) -> dict[str, tuple[float, float]]:
    """x and y of each box; x near the mean of what it imports, so that arrows are short.

    Floors are staggered.
    """
    at: dict[str, tuple[float, float]] = {}
    for y in range(max(rooms.values()) + 1):
        row = [room for room, floor in rooms.items() if floor == y]
        shift = (-0.25, 0.25)[y % 2] if len(row) > 1 else 0  # a long arrow passes between boxes
        row.sort(key=lambda room: (_wish(room, arrows, at), room))
        at |= {
            room: (1.1 * (k - (len(row) - 1) / 2 + shift), float(y)) for k, room in enumerate(row)
        }
    return at


def _wish(room: str, arrows: dict[str, list[str]], at: dict[str, tuple[float, float]]) -> float:
    """The mean x of what ``room`` imports."""
    known = [at[other][0] for other in arrows[room] if other in at]
    return sum(known) / len(known) if known else 0.0


def drawn() -> dict[str, list[str]]:
    """The arrows of the picture: of each folder, those that lead away from it."""
    arrows = {
        room: others - EVERYBODY for room, others in imports().items() if room not in EVERYBODY
    }
    return {room: sorted(others) for room, others in sorted(direct(arrows).items())}


def main() -> None:
    """Draw the picture."""
    every = imports()
    arrows = {room: others - EVERYBODY for room, others in every.items() if room not in EVERYBODY}
    rooms = floors(arrows)
    shown = drawn()
    at = places(rooms, shown)
    width = max(abs(x) for x, _ in at.values()) + 0.6
    figure, axes = plt.subplots(figsize=(2.6 * 2 * width * 0.62, 1.05 * (max(rooms.values()) + 2)))
    for room, others in shown.items():
        for other in others:
            (x, y), (u, v) = at[room], at[other]
            style = {"arrowstyle": "->", "color": LINE, "lw": 1.1}
            axes.annotate("", (u, v + 0.22), (x, y - 0.22), zorder=1, arrowprops=style)
    for room, (x, y) in at.items():
        box = FancyBboxPatch((x - 0.4, y - 0.2), 0.8, 0.4, boxstyle="round,pad=0.02", zorder=2,
                             facecolor=BOX, edgecolor=LINE)  # fmt: skip
        axes.add_patch(box)
        axes.text(x, y, room, ha="center", va="center", color=INK, fontsize=12, zorder=3)
    base = ", ".join(sorted(EVERYBODY & every.keys()))
    axes.text(0, -0.75, f"used by all: {base}", ha="center", color=INK, fontsize=11)
    axes.set_xlim(-width, width)
    axes.set_ylim(-1.0, max(rooms.values()) + 0.5)
    axes.axis("off")
    figure.savefig(ROOT / "docs" / "architecture.png", dpi=110, facecolor=PAPER,
                   bbox_inches="tight", metadata={"Description": json.dumps(shown)})  # fmt: skip


if __name__ == "__main__":
    main()
