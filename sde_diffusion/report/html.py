"""The self-contained page of a comparison."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader

from sde_diffusion.report.tables import Row, best_by_nfe, largest, metric, rivals

COLUMNS = {
    "solver": "solver",
    "nfe": "NFE",
    "samples": "N",
    "fd": "FD",
    "fd_debiased": "bias removed",
    "fd_low": "95 % low",
    "fd_high": "95 % high",
    "floor": "floor",
    "seconds": "s, all N",
    "grid": "grid",
    "order": "order",
}


def findings(rows: Sequence[Row]) -> list[str]:
    """What the comparison says, one sentence an NFE; near rivals are named, not passed over."""
    sentences = []
    for nfe, row in best_by_nfe(rows).items():
        others = rivals(rows, row)
        alone = " alone" if not others and len({r["solver"] for r in rows}) > 1 else ""
        ratio = f", {row['fd'] / row['floor']:.1f} times the floor" if row["floor"] else ""
        sentences.append(
            f"At {nfe:.4g} evaluations: {row['solver']}{alone} with {row['fd']:.3g}{ratio}"
            f"{_near(row, others)}."
        )
    return sentences


def _near(row: Row, others: Sequence[Row]) -> str:
    """The rivals whose bias-removed value lies in the 95 % interval of the best."""
    if row["fd_high"] is None:
        return ""
    near = [
        r["solver"]
        for r in others
        if r["fd_debiased"] is not None and row["fd_low"] <= r["fd_debiased"] <= row["fd_high"]
    ]
    return f"; within its 95 % interval: {', '.join(near)}" if near else ""


def show(value: Any) -> str:
    """A cell of the table: four digits, a dash for nothing."""
    if value is None:
        return "–"
    return f"{value:.4g}" if type(value) is float else str(value)


def page(
    rows: Sequence[Row],
    plots: Mapping[str, str],
    strips: Sequence[Mapping[str, str]],
    provenance: Mapping[str, Any],
) -> str:
    """The page; ``plots`` and ``strips`` hold pictures as data URIs: it loads nothing else."""
    environment = Environment(loader=PackageLoader("sde_diffusion.report", "."), autoescape=True)
    environment.filters["show"] = show
    top = largest(rows)[0]
    facts = {k: v for k, v in provenance.items() if k not in ("config", "cells")}
    return environment.get_template("page.html.j2").render(
        metric=metric(rows),
        samples=top["samples"],
        floor=top["floor"],
        findings=findings(rows),
        columns=COLUMNS,
        rows=rows,
        plots=plots,
        strips=strips,
        facts=facts,
        config=json.dumps(provenance.get("config", {}), indent=1),
        cells=json.dumps(provenance.get("cells", []), indent=1),
    )
