"""``sde-diffusion compare``: which solver, at how many evaluations, judged on how many images?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

from omegaconf import DictConfig

from sde_diffusion.config.command import written_out
from sde_diffusion.config.compose import build
from sde_diffusion.errors import InputError
from sde_diffusion.metrics.judge import metrics
from sde_diffusion.models.opened import OpenedModel
from sde_diffusion.models.sources import open_model
from sde_diffusion.process.grids import TimeGrid
from sde_diffusion.process.noise import NoiseSource
from sde_diffusion.process.sde import SDE
from sde_diffusion.report import write_report
from sde_diffusion.report.formats import text_table
from sde_diffusion.system.ranges import Within
from sde_diffusion.tasks.compare.cell import Cells
from sde_diffusion.tasks.compare.design import Design, Entry, Setting, entered
from sde_diffusion.tasks.compare.study import Study
from sde_diffusion.tasks.composed import guidance_of
from sde_diffusion.tasks.run import Run
from sde_diffusion.training.posthoc import averages


@dataclass
class CompareTask(Design):
    """Keys of the task."""

    checkpoint: str
    ema_width: list[float] | None
    solvers: list[Any] | None
    nfe: Annotated[list[int], Within("1 <= nfe <= 1000000")]
    precision: str
    channels_last: bool
    compile: bool
    reference: str | None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.solvers == [] or not self.nfe:
            empty = "solvers" if self.solvers == [] else "nfe"
            raise InputError(f"{empty}=[]: give at least one")
        if len(each := list(dict.fromkeys(self.nfe))) < len(self.nfe):
            raise InputError(f"nfe={self.nfe}: some twice; give each once, nfe={each}")


def run(config: DictConfig, folder: Path) -> float:
    """Run all cells, write the report into ``folder``; returns the best FD at the largest N."""
    with Run(config, folder, CompareTask) as job:
        task, models, reference = job.task, opened(job), job.reference
        measures = metrics(config.get("metric"))
        cells = Cells.of(folder / "cells", job.extractor, job.execution, task)
        entries = entered(setting(config), task, models, task.solvers, task.nfe)
        study = Study.of(task, entries, cells, reference, measures)
        job.begin()
        if job.helps:
            cells.help(study.plans)
            return 0.0
        comparison = study.run(job.output, facts(job, models, entries))
        write_report(job.output, comparison)
    print(f"\n{text_table(comparison)}\n\nreport: {folder / 'report.html'}")
    return float(min(row["fd"] for row in comparison.top))


def facts(
    job: Run[CompareTask], models: Mapping[str, OpenedModel], entries: Sequence[Entry]
) -> dict[str, Any]:
    """What all numbers depend on, and the command with every default written out."""
    keys = {field.name: getattr(job.task, field.name) for field in fields(job.task)}
    if job.task.solvers is None:
        keys["solvers"] = [entry.label for entry in entries]
    whole = written_out(keys)
    asked = {} if whole is None else {"with_every_default": whole}
    return {**asked, **job.provenance(next(iter(models.values())))}


def setting(config: DictConfig) -> Setting:
    """The components of a composed config that all samplers share."""
    grid = config.get("grid")
    return Setting(
        build(config.sde, "sde", SDE),
        build(config.noise, "noise", NoiseSource),
        guidance_of(config),
        None if grid is None else build(grid, "grid", TimeGrid),
    )


def opened(job: Run[CompareTask]) -> dict[str, OpenedModel]:
    """The checkpoint, or the averages of several widths of a run's folder, by a label's end."""
    task = job.task
    if task.ema_width is None:
        return {"": job.model}
    folder = job.output.folder / "models"
    models = {}
    for width, path in averages(Path(task.checkpoint), task.ema_width, None, folder).items():
        model = open_model(path, precision=job.precision)
        models[f"-ema{width:g}"] = replace(model, name=f"{task.checkpoint}, EMA {width:g}")
        model.denoiser.to(job.device)
    job.model = next(iter(models.values()))  # a folder of snapshots alone holds none
    return models
