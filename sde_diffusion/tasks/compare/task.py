"""``sde-diffusion compare``: which solver, at how many evaluations, judged on how many images?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from sde_diffusion.errors import InputError
from sde_diffusion.metrics.judge import Judge, metrics
from sde_diffusion.metrics.references import judged_by
from sde_diffusion.models.opened import OpenedModel
from sde_diffusion.models.sources import open_model
from sde_diffusion.report import Comparison, write_report
from sde_diffusion.tasks.compare.cell import Cells
from sde_diffusion.tasks.compare.plan import CompareTask, plans
from sde_diffusion.tasks.compare.score import Scores, score
from sde_diffusion.tasks.compare.verdict import verdict
from sde_diffusion.tasks.run import Run
from sde_diffusion.training.posthoc import averages


def run(config: DictConfig, folder: Path) -> float:
    """Run all cells, write the report into ``folder``; returns the best FD at the largest N."""
    with Run(config, folder, CompareTask) as job:
        task, models, reference = job.task, opened(job), job.reference
        judge = Judge(reference.reference, reference.features, metrics(config.get("metric")))
        cells = Cells(folder / "cells", job.extractor, job.execution, task.most)
        todo = cells.settled(plans(config, task, models, job.extractor))
        job.begin()
        floors = judge.floors(reference.held_out, task.counts)
        scores = score(job, todo, cells, judge, floors)
        points, rankings = verdict(scores.rows, judge, cells)
        comparison = Comparison(
            [row for rows in scores.rows.values() for row in rows],
            points,
            rankings,
            floors,
            scores.shown,
            facts(job, next(iter(models.values())), scores),
            scores.films,
        )
        write_report(job.output, comparison)
    return float(min(row["fd"] for row in points if row["samples"] == task.most))


def opened(job: Run[CompareTask]) -> dict[str, OpenedModel]:
    """The checkpoint, or the averages of several widths of a run's folder, by a label's end."""
    task = job.task
    if task.ema_width is None:
        models = {"": job.model}
    else:
        folder = job.output.folder / "models"
        paths = averages(Path(task.checkpoint), task.ema_width, None, folder)
        models = {
            f"-ema{width:g}": replace(
                open_model(path, precision=job.precision), name=f"{task.checkpoint}, EMA {width:g}"
            )
            for width, path in paths.items()
        }
    for model in models.values():
        if len(model.denoiser.shape) == 1:
            raise InputError(
                f"checkpoint={task.checkpoint}: draws vectors; compare ranks solvers on images"
            )
        model.denoiser.to(job.device)
    return models


def facts(job: Run[CompareTask], model: OpenedModel, scores: Scores) -> dict[str, Any]:
    """What all rows share, and every cell with all that it depends on."""
    task = job.task
    return {
        **job.provenance(model),
        **judged_by(job.extractor, job.reference),
        "seeds": f"{task.seed}-{task.seeds(task.repeats - 1)[-1]}",
        "label": task.label,
        "left_out": scores.left_out,
        "cells": [
            {"solver": plan.label, "file": plan.name, "steps": plan.steps, **plan.depends}
            for plan in scores.rows
        ],
    }
