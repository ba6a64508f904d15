"""From plans to finished cells to rows: what each was judged at, and what diverged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch import Tensor
from tqdm import tqdm

from sde_diffusion.errors import DivergedError, InputError
from sde_diffusion.metrics.judge import Row
from sde_diffusion.report.tables import cell_line
from sde_diffusion.sampling.film import Film
from sde_diffusion.system.bars import hidden
from sde_diffusion.system.identity import COMPONENT
from sde_diffusion.system.output import Output
from sde_diffusion.system.resume import NOISE
from sde_diffusion.tasks.compare.cell import Cell
from sde_diffusion.tasks.compare.plan import PARTS, Budget, Plan

if TYPE_CHECKING:
    from sde_diffusion.tasks.compare.study import Study

FLOORS = ("fd", "fd_debiased")


@dataclass(frozen=True)
class Scores:
    """What the cells of a comparison were judged at.

    Attributes:
        rows: of each plan, one a number of samples.
        shown: first images of the first block, by solver and NFE. films: how they formed.
        left_out: a line for each solver and NFE that diverged.
    """

    rows: dict[Plan, list[Row]]
    shown: dict[tuple[str, str], Tensor]
    films: dict[str, Film]
    left_out: list[str]


def score(study: Study, floors: Mapping[int, Row], output: Output, progress: bool) -> Scores:
    """Sample and judge every plan, with a bar and a line a cell if there is ``progress``.

    A budget of which one block diverges is left out whole: a mean over the blocks that went well
    would flatter the solver. InputError if nothing is left.
    """
    rows: dict[Plan, list[Row]] = {}
    first: dict[Plan, Cell] = {}  # without features, which are what a comparison would hold most of
    diverged: dict[Budget, str] = {}
    with _bar(study, progress) as bar:

        def hear(plan: Plan, samples: int) -> None:
            bar.update(plan.weight * samples)

        for plan, cell in study.cells.take(study.plans, hear):
            if isinstance(cell, DivergedError):
                if plan.budget not in diverged:
                    diverged[plan.budget] = (
                        f"{plan.label} at NFE {plan.nfe or 'of its own'}: {cell}"
                    )
                    _say(bar, f"left out: {diverged[plan.budget]}", progress)
                continue
            rows[plan] = _judged(study, plan, cell, floors)
            if plan.block == 0:
                first[plan] = replace(cell, features=cell.features[:0].clone(), fits=None)
            last = rows[plan][-1]
            _say(bar, cell_line(last), progress)
            figures = {name: last[name] for name in ("fd", "nfe", "seconds")}
            output.tracker.point(plan.label, "nfe", figures, len(rows) - 1)
    rows = {plan: rows[plan] for plan in study.plans if plan in rows}
    return _whole(rows, first, diverged)


def _bar(study: Study, progress: bool) -> tqdm:
    work = sum(plan.weight * study.cells.most for plan in study.plans)
    return tqdm(total=work, unit="eval", unit_scale=True, desc="compare", disable=hidden(progress))


def _say(bar: tqdm, line: str, progress: bool) -> None:
    """Above the bar, where there is one."""
    if progress:
        bar.write(line)


def _judged(study: Study, plan: Plan, cell: Cell, floors: Mapping[int, Row]) -> list[Row]:
    """The rows of a cell: one a number of samples."""
    facts = _facts(plan, cell) | {"extractor": study.cells.extractor.name}
    rows = study.judge.rows(cell.features, study.design.counts, plan.strata)
    return [
        {**facts, **row, **_fit(cell, row["samples"]), **_floor(floors.get(row["samples"]))}
        for row in rows
    ]


def _fit(cell: Cell, n: int) -> Row:
    """The mean CLIP score of the first n images, and its standard error; nothing without."""
    if cell.fits is None:
        return {}
    fits = cell.fits[:n]
    return {"clip_score": float(fits.mean()), "clip_score_error": float(fits.std()) / n**0.5}


def _whole(
    rows: Mapping[Plan, list[Row]], first: Mapping[Plan, Cell], diverged: Mapping[Budget, str]
) -> Scores:
    """The scores of those budgets of which no block diverged."""
    left_out = list(diverged.values())
    kept = {plan: scored for plan, scored in rows.items() if plan.budget not in diverged}
    if not kept:
        raise InputError(left_out[0])
    cells = {plan: cell for plan, cell in first.items() if plan in kept}
    return Scores(
        kept,
        {(plan.label, f"{cell.nfe:g}"): cell.images for plan, cell in cells.items()},
        {plan.label: cell.film for plan, cell in cells.items() if cell.film is not None},
        left_out,
    )


def _facts(plan: Plan, cell: Cell) -> Row:
    """The protocol's fields that are a cell's own."""
    parts, solver = plan.depends["parts"], plan.sampler.solver
    return {
        "solver": plan.label,
        "nfe": cell.nfe,
        "block": plan.block,
        "seeds": f"{plan.seeds[0]}-{plan.seeds[-1]}",
        "seconds": cell.seconds,
        "ms_per_image": 1000 * cell.seconds / len(plan.seeds),
        "nfe_asked": plan.nfe,
        "steps": plan.steps,
        "order": solver.order,
        "stochastic": solver.stochastic,
        "couples_batch": solver.couples_batch,
        "target": parts["solver"][COMPONENT],
        "grid": parts["grid"][COMPONENT],
        "sde": parts["sde"][COMPONENT],
        **{f"{k}_fields": json.dumps(parts.get(k)) for k in PARTS},
        "quantisation": "uint8, clipped, then rounded to nearest",
        "dtype": plan.depends["dtype"],
        "network_dtype": plan.depends["precision"].split()[0],
        "device": plan.depends["device"],
        NOISE: plan.depends.get(NOISE, 1),
        "cell": plan.name,
        **cell.origin,
        "model": plan.model,
    }


def _floor(real: Row | None) -> Row:
    return {"floor" + name.removeprefix("fd"): real and real[name] for name in FLOORS}
