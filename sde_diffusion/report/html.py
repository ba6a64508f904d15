"""The self-contained page of a comparison."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader

from sde_diffusion.config.command import value as plain
from sde_diffusion.images.sheet import image_grid, png_bytes
from sde_diffusion.report.comparison import PROTOCOL, REAL, Comparison, Row, measured
from sde_diffusion.report.ranking import Ranking
from sde_diffusion.report.style import COLOURS, PALETTE, Plot, variables
from sde_diffusion.system import strict_json
from sde_diffusion.system.notice import visible

# What is said of the first, by whether its rank is known.
FIRST = {True: "smallest distance", False: "smallest value; not ranked"}
# Facts that have a place of their own on the page.
APART = ("config", "cells", "papers", "command", "with_every_default", "left_out", "jobs", "paired")


def show(value: Any, digits: int = 3) -> str:
    """A number in so many digits, a dash for nothing; a minus sign where there is one."""
    if value is None or value == "":
        return "–"
    if type(value) is float and value != 0:
        text = f"{value:#.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"
        return text.rstrip(".").replace("-", "−")
    return "0" if value == 0.0 and type(value) is float else str(value)


def brief(value: Any) -> str:
    """A number in four digits at most, a dash for nothing."""
    return f"{value:.4g}".replace("-", "−") if type(value) is float else show(value)


def uri(content: bytes, kind: str = "png") -> str:
    """A picture within the page."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def columns(comparison: Comparison) -> dict[str, str]:
    """The table's columns: key of a row -> heading."""
    extra = [n for n in measured(comparison.points) if not n.endswith("_error")]
    return {
        "solver": "solver",
        "nfe": "NFE",
        "samples": "N",
        "fd": "FD",
        "fd_debiased": "bias removed",
        "interval": "95 % interval",
        "floor": "floor",
        "ms_per_image": "ms / image",
        **{name: name.upper() if len(name) < 4 else name for name in extra},
    }


def cells(row: Row, names: Sequence[str]) -> list[tuple[str, Any]]:
    """(text, value to sort by) of each column."""
    shown: list[tuple[str, Any]] = []
    for name in names:
        value = row.get("fd_low" if name == "interval" else name)
        text = show(value) if name != "nfe" or value is None else f"{value:.4g}"
        if name == "interval" and value is not None:
            text = f"{show(value)} … {show(row['fd_high'])}"
        elif row.get(f"{name}_sd") is not None and name not in ("nfe", "ms_per_image"):
            text += f" ± {show(row[f'{name}_sd'], 2)}"
        shown.append((text, "" if value is None else value))
    return shown


def details(row: Row) -> dict[str, str]:
    """The protocol of one number."""
    names = [*(n for n in row if n.endswith("_error")), *PROTOCOL]
    return {
        name.replace("_", " "): show(row[name], 6)
        for name in names
        if row.get(name) not in (None, "", "null")
    }


def table(comparison: Comparison) -> list[dict[str, Any]]:
    """The rows of the table, those of real images last."""
    names = list(columns(comparison))
    rows = [(row, False) for row in comparison.points]
    rows += [({"solver": REAL, **row}, True) for row in comparison.floors.values()]
    return [
        {
            "solver": row["solver"],
            "nfe": "" if real else f"{row['nfe']:.4g}",
            "samples": row["samples"],
            "real": real,
            "cells": cells(row, names),
            "details": details(row),
        }
        for row, real in rows
    ]


def cards(comparison: Comparison) -> list[dict[str, Any]]:
    """The ranking at each NFE as the page shows it; lone adaptive solvers share a card."""
    number = {name: i % len(COLOURS) for i, name in enumerate(comparison.solvers)}
    panels: list[dict[str, Any]] = []
    for ranking in comparison.rankings:
        unbiased = all(s.fd_debiased is not None for s in ranking.standings)
        lines = [
            {
                "place": "≈" if s.alike else str(s.place or "–"),
                "solver": s.solver,
                "colour": number[s.solver],
                "value": show(s.fd_debiased if unbiased else s.fd),  # the one that ranks
                "alike": bool(s.alike),
                "remark": _remark(ranking, i),
            }
            for i, s in enumerate(ranking.standings)
        ]
        title = f"{ranking.nfe:.4g} evaluations"
        panels.append({"title": title, "lines": lines, "unbiased": unbiased})
    return panels


def _remark(ranking: Ranking, i: int) -> str:
    s = ranking.standings[i]
    if i == 0:
        return "alone at this number" if len(ranking.standings) == 1 else FIRST[s.place == 1]
    if s.difference is None:
        return "not ranked: the difference is withheld"
    gap = f"{'+' if s.difference >= 0 else ''}{show(s.difference, 2)}"
    text = f"{gap} [{show(s.low, 2)}, {show(s.high, 2)}]"
    if not s.alike:
        return text
    settled = "; the reference is too small to settle it"
    if s.settle is not None:
        settled = f"; N\u00a0≈\u00a0{_rounded(s.settle):,} would settle it"
    return f"not distinguishable: {text}{settled}"


def _rounded(n: int) -> int:
    """Two digits are all that such a guess is worth."""
    return int(float(f"{n:.2g}"))


def filters(comparison: Comparison) -> list[tuple[str, str, list[str]]]:
    """What the table can be narrowed by: a key of its rows, its name and its values."""
    counts = sorted({row["samples"] for row in comparison.points})
    nfes = dict.fromkeys(f"{nfe:.4g}" for nfe in sorted(row["nfe"] for row in comparison.points))
    choices = [("n", "N", [str(n) for n in counts]), ("nfe", "NFE", list(nfes))]
    return [(key, title, values) for key, title, values in choices if len(values) > 1]


def templates() -> Environment:
    """Templates whose values are escaped, and shown without control characters."""
    environment = Environment(
        loader=PackageLoader("sde_diffusion.report", "."),
        autoescape=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    environment.filters |= {
        "show": show,
        "brief": brief,
        "plain": lambda x: x if isinstance(x, str) else show(x) if x is None else plain(x),
    }
    return environment


def page(
    comparison: Comparison,
    plots: Sequence[Plot],
    copies: Mapping[str, str],
    film: tuple[bytes, bytes] | None = None,
) -> str:
    """The page; pictures, plots, style and script lie in it: it loads nothing else.

    Args:
        copies: texts to be copied, by their names. plots: as SVG that takes the page's colours.
        film: an animated WebP, and a still for
            readers who asked for reduced motion.
    """
    environment = templates()
    facts = {k: v for k, v in comparison.facts.items() if k not in APART and v != []}
    rows = [*comparison.points, *comparison.floors.values()]
    values = [row.get(name) for row in rows for name in ("fd_debiased", "kid")]
    strips: dict[str, list[tuple[str, str]]] = {}
    for (solver, nfe), images in comparison.shown.items():
        picture = uri(png_bytes(image_grid(images, len(images), scale=2)))
        strips.setdefault(nfe, []).append((solver, picture))
    ranked = cards(comparison)
    notes = _notes(comparison.rankings)
    return environment.get_template("page.html.j2").render(
        metric=comparison.metric,
        samples=comparison.largest,
        floor=comparison.floors.get(comparison.largest),
        cards=ranked,
        alike=any(line["alike"] for card in ranked for line in card["lines"]),
        notes=notes,
        columns=columns(comparison),
        rows=table(comparison),
        solvers=[(name, i % len(COLOURS)) for i, name in enumerate(comparison.solvers)],
        filters=filters(comparison),
        negative=any(value is not None and value < 0 for value in values),
        copies=copies,
        left_out=comparison.facts.get("left_out", []),
        command=comparison.facts.get("command"),
        full=comparison.facts.get("with_every_default"),
        paired=comparison.facts.get("paired", True),
        jobs=comparison.facts.get("jobs", []),
        blocks=comparison.points[0]["blocks"],
        plots=plots,
        strips={nfe: strips[nfe] for nfe in sorted(strips, key=float)},
        film=None if film is None else {"moving": uri(film[0], "webp"), "still": uri(film[1])},
        facts=facts,
        config=strict_json.dumps(comparison.facts.get("config", {}), indent=1),
        light=variables(),
        dark={f"c{i}": PALETTE[c] for i, c in enumerate(COLOURS)},
    )


def _notes(rankings: Sequence[Ranking]) -> list[tuple[str, str]]:
    """Where, and what is said of the differences there: each once."""
    places: dict[str, list[str]] = {}
    for ranking in rankings:
        if len(ranking.standings) > 1:
            places.setdefault(ranking.note, []).append(f"{ranking.nfe:g}")
    if len(places) == 1:
        return [("each number of evaluations", note) for note in places]
    return [(f"{' and '.join(nfe)} evaluations", note) for note, nfe in places.items()]
