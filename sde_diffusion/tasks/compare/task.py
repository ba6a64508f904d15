"""``sde-diffusion compare``: which solver, at how many evaluations, judged on how many images?"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.config.choices import choice
from sde_diffusion.config.compose import build, read
from sde_diffusion.errors import DivergedError, InputError
from sde_diffusion.metrics.extractors import Extractor
from sde_diffusion.metrics.judge import Judge, Row, metrics
from sde_diffusion.metrics.references import judged_by, reference_for
from sde_diffusion.models.model import PRECISIONS, Model, load
from sde_diffusion.report import Comparison, write_report
from sde_diffusion.report.tables import cell_line
from sde_diffusion.sampling.film import Film
from sde_diffusion.system.devices import usable_device
from sde_diffusion.system.identity import COMPONENT
from sde_diffusion.system.resume import NOISE
from sde_diffusion.system.tracking import Tracker
from sde_diffusion.tasks.compare.cell import Cell, cell_of, settled
from sde_diffusion.tasks.compare.plan import PARTS, Budget, CompareTask, Plan, plans
from sde_diffusion.tasks.compare.verdict import verdict
from sde_diffusion.tasks.run import job, provenance
from sde_diffusion.training.posthoc import averages

FLOORS = ("fd", "fd_debiased")


def run(config: DictConfig, folder: Path) -> float:
    """Run all cells, write the report into ``folder``; returns the best FD at the largest N."""
    task: CompareTask = read(config, CompareTask)
    task.check()
    device = usable_device(task.device)
    models = _models(task, folder)
    extractor: Extractor = build(config.extractor, "extractor", Extractor)
    reference = reference_for(extractor, task.reference)
    judge = Judge(reference.reference, reference.features, metrics(config.get("metric")))
    for model in models.values():
        model.denoiser.to(device)
    todo = settled(plans(config, task, models, extractor), folder)
    tracker: Tracker = build(config.tracker, "tracker", Tracker)
    floors = judge.floors(reference.held_out, task.counts)
    rows: dict[Plan, list[Row]] = {}
    diverged: dict[Budget, str] = {}
    first: dict[Plan, tuple[str, Tensor, Film | None]] = {}
    work = sum(plan.weight * task.most for plan in todo)
    with tracker, tqdm(total=work, unit="eval", unit_scale=True, desc="compare") as bar:
        tracker.start(job(config, folder))
        for number, plan in enumerate(todo):

            def progress(samples: int, weight: int = plan.weight) -> None:
                bar.update(weight * samples)

            if plan.budget in diverged:
                continue
            try:
                cell = cell_of(plan, task, extractor, folder, progress)
            except DivergedError as error:
                diverged[plan.budget] = f"{plan.label} at NFE {plan.nfe or 'of its own'}: {error}"
                bar.write(f"left out: {diverged[plan.budget]}")
                continue
            facts = _facts(plan, cell, task) | {"extractor": extractor.name, "model": plan.model}
            rows[plan] = [
                {**facts, **row, **_floor(floors.get(row["samples"]))}
                for row in judge.rows(cell.features, task.counts, plan.strata)
            ]
            if plan.block == 0:
                first[plan] = f"{cell.nfe:g}", cell.images, cell.film
            last = rows[plan][-1]
            bar.write(cell_line(last))
            tracker.log({name: last[name] for name in ("fd", "nfe", "seconds")}, number)
        # All blocks of it: a mean over those that went well would flatter the solver.
        rows = {plan: found for plan, found in rows.items() if plan.budget not in diverged}
        if not rows:
            raise InputError(next(iter(diverged.values())))
        points, rankings = verdict(rows, judge, folder)
        kept = {plan: found for plan, found in first.items() if plan in rows}
        shown = {(plan.label, nfe): images for plan, (nfe, images, _) in kept.items()}
        films = {plan.label: film for plan, (_, _, film) in kept.items() if film is not None}
        known = (
            provenance(next(iter(models.values())), config)
            | judged_by(extractor, reference)
            | {
                "seeds": f"{task.seed}-{task.seeds(task.repeats - 1)[-1]}",
                "label": task.label,
                "left_out": list(diverged.values()),
                "cells": [
                    {"solver": p.label, "file": p.name, "steps": p.steps, **p.depends} for p in rows
                ],
            }
        )
        all_rows = [row for found in rows.values() for row in found]
        write_report(
            folder, Comparison(all_rows, points, rankings, floors, shown, known, films), tracker
        )
    return float(min(row["fd"] for row in points if row["samples"] == task.most))


def _models(task: CompareTask, folder: Path) -> dict[str, Model]:
    """The checkpoint, or the averages of several widths of a run's folder, by a label's end."""
    dtype = PRECISIONS[choice("precision", task.precision, PRECISIONS)]
    if task.ema_width is None:
        found = {"": load(task.checkpoint, dtype)}
    else:
        paths = averages(Path(task.checkpoint), task.ema_width, None, folder / "models")
        found = {
            f"-ema{width:g}": replace(load(path, dtype), name=f"{task.checkpoint}, EMA {width:g}")
            for width, path in paths.items()
        }
    if any(len(model.denoiser.shape) == 1 for model in found.values()):
        raise InputError(
            f"checkpoint={task.checkpoint}: draws vectors; compare ranks solvers on images"
        )
    return found


def _facts(plan: Plan, cell: Cell, task: CompareTask) -> Row:
    """The protocol's fields that are a cell's own."""
    parts, solver = plan.depends["parts"], plan.sampler.solver
    return {
        "solver": plan.label, "nfe": cell.nfe, "block": plan.block,
        "seeds": f"{plan.seeds[0]}-{plan.seeds[-1]}", "seconds": cell.seconds,
        "ms_per_image": 1000 * cell.seconds / len(plan.seeds),
        "nfe_asked": plan.nfe, "steps": plan.steps, "order": solver.order,
        "stochastic": solver.stochastic, "couples_batch": solver.couples_batch,
        "target": parts["solver"][COMPONENT], "grid": parts["grid"][COMPONENT],
        "sde": parts["sde"][COMPONENT], **{f"{k}_fields": json.dumps(parts.get(k)) for k in PARTS},
        "quantisation": "uint8, clipped, then rounded to nearest", "dtype": task.dtype,
        "network_dtype": task.precision, "device": task.device,
        NOISE: plan.depends.get(NOISE, 1), "cell": plan.name, **cell.made,
    }  # fmt: skip


def _floor(real: Row | None) -> Row:
    return {"floor" + name.removeprefix("fd"): real and real[name] for name in FLOORS}
