"""``sde-diffusion compare``: which solver, at how many evaluations, judged on how many images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.condition import Condition
from sde_diffusion.config import build, compose_task, digest, plain, read
from sde_diffusion.data.images import to_uint8
from sde_diffusion.errors import InputError
from sde_diffusion.metrics.extractors import Extractor
from sde_diffusion.model import DTYPES, PRECISIONS, Model, build_sampler, load
from sde_diffusion.report import write_report
from sde_diffusion.report.tables import cell_line
from sde_diffusion.sampler import Sampler
from sde_diffusion.tasks.cells import Cell, load_cell, save_cell
from sde_diffusion.tasks.common import choice, job, provenance, reference_for, usable_device
from sde_diffusion.tasks.scores import floors, score_features
from sde_diffusion.tracking import Tracker

SHOWN = 10


@dataclass
class CompareTask:
    """Keys of the task."""

    checkpoint: str
    solvers: list[Any]
    nfe: list[int]
    samples: list[int]
    seed: int
    label: Any
    batch_size: int
    denoise_last: bool
    dtype: str
    precision: str
    device: str
    reference: str | None


@dataclass(frozen=True)
class Plan:
    """One cell to run: a labelled sampler and its budget."""

    label: str
    sampler: Sampler
    nfe: int | None
    steps: int
    config: dict[str, Any]


def entries(solvers: list[Any]) -> Iterator[tuple[str, list[str]]]:
    """(label, overrides) of each entry of ``solvers``: a name, or {label: {solver: ..., ...}}."""
    for entry in solvers:
        if isinstance(entry, str):
            yield entry, [f"solver={entry}"]
            continue
        if not isinstance(entry, dict):
            raise InputError(f"solvers: {entry}: give a name, or {{LABEL: {{solver: NAME}}}}")
        for label, fields in entry.items():
            fields = dict(fields or {})
            overrides = [f"solver={fields.pop('solver', label)}"]
            if "grid" in fields:
                overrides.append(f"grid={fields.pop('grid')}")
            yield label, overrides + [f"solver.{k}={v}" for k, v in fields.items()]


def plans(config: DictConfig, task: CompareTask, model: Model) -> list[Plan]:
    """Every cell, checked before the first one runs."""
    if not task.solvers or not task.nfe:
        raise InputError("solvers=[], nfe=[]: give at least one of each")
    found: list[Plan] = []
    for label, overrides in entries(task.solvers):
        if any(plan.label == label for plan in found):
            raise InputError(f"solvers: {label} twice; give each entry a label of its own")
        chosen = compose_task(["task=sample", *overrides])
        own = OmegaConf.create({**config, "solver": chosen.solver})
        own.grid = config.get("grid") or chosen.get("grid")
        sampler = build_sampler(own, model.denoiser)
        budgets = [None] if sampler.solver.adaptive else list(dict.fromkeys(task.nfe))
        parts = ("solver", "grid", "sde", "noise", "guidance")
        recorded = {part: plain(own[part]) for part in parts if part in own}
        for nfe in budgets:
            found.append(Plan(label, sampler, nfe, sampler.steps(nfe), recorded))
    return found


def run(config: DictConfig, folder: Path) -> float:
    """Run all cells, write the report into ``folder``; returns the best FD at the largest N."""
    task = read(config, CompareTask)
    if not task.samples or min(task.samples) < 2:
        raise InputError(f"samples={task.samples}: give numbers of samples >= 2")
    device = usable_device(task.device)
    model = load(task.checkpoint, PRECISIONS[choice("precision", task.precision, PRECISIONS)])
    extractor: Extractor = build(config.extractor, "extractor", Extractor)
    reference = reference_for(extractor, task.reference)
    seeds = list(range(task.seed, task.seed + max(task.samples)))
    cond = model.condition(task.label, seeds)
    model.denoiser.to(device)
    todo = plans(config, task, model)
    tracker: Tracker = build(config.tracker, "tracker", Tracker)
    rows: list[dict[str, Any]] = []
    shown: dict[tuple[str, str], Tensor] = {}
    floor = floors(reference.held_out, task.samples, reference.reference)
    work = sum((plan.nfe or 100) * len(seeds) for plan in todo)
    with tracker, tqdm(total=work, unit="eval", unit_scale=True, desc="compare") as bar:
        tracker.start(job(config, folder))
        for number, plan in enumerate(todo):
            cell = _cell(plan, task, model, seeds, cond, extractor, folder, bar)
            new = score_features(cell.features, task.samples, reference.reference)
            common = {"solver": plan.label, "target": plan.config["solver"]["_target_"],
                      "grid": _name(plan.config["grid"]), "sde": _name(plan.config["sde"]),
                      "order": plan.sampler.solver.order, "nfe_asked": plan.nfe,
                      "stochastic": plan.sampler.solver.stochastic,
                      "couples_batch": plan.sampler.solver.couples_batch, "steps": plan.steps,
                      "seed_first": seeds[0], "device": task.device, "dtype": task.dtype,
                      "extractor": extractor.name, "model": model.name}  # fmt: skip
            new = [{**common, **row, "nfe": cell.nfe, "seconds": cell.seconds,
                    "floor": floor[row["samples"]]} for row in new]  # fmt: skip
            rows += new
            shown[plan.label, f"{cell.nfe:g}"] = cell.images
            bar.write(cell_line(new[-1]))
            tracker.log({"fd": new[-1]["fd"], "nfe": cell.nfe, "seconds": cell.seconds}, number)
        facts = provenance(model, config) | {
            "extractor": extractor.name,
            "extractor_fingerprint": extractor.fingerprint,
            "reference": reference.name,
            "reference_fingerprint": reference.data_fingerprint,
            "reference_n": reference.stats.n,
            "seeds": f"{seeds[0]}-{seeds[-1]}",
            "label": task.label,
            "cells": [{"label": p.label, "nfe": p.nfe, **p.config} for p in todo],
        }
        write_report(folder, rows, shown, facts, tracker)
    return min(row["fd"] for row in rows if row["samples"] == max(task.samples))


def _name(node: dict[str, Any]) -> str:
    return str(node["_target_"]).rpartition(".")[2]


def _cell(
    plan: Plan,
    task: CompareTask,
    model: Model,
    seeds: list[int],
    cond: Condition | None,
    extractor: Extractor,
    folder: Path,
    bar: Any,
) -> Cell:
    """The features of one cell: read if this folder has them, else sampled and written."""
    # Everything the features depend on: the model by its content, not by its name.
    depends = {"parts": plan.config, "nfe": plan.nfe, "seeds": seeds, "label": task.label,
               "denoise_last": task.denoise_last, "dtype": task.dtype, "precision": task.precision,
               "model": model.fingerprint, "extractor": extractor.fingerprint}  # fmt: skip
    key = digest(OmegaConf.create(depends))
    path = folder / "cells" / f"{plan.label}-{plan.nfe or 'adaptive'}-{key}.safetensors"
    weight = plan.nfe or 100
    if path.is_file():
        bar.update(weight * len(seeds))
        return load_cell(path)
    dtype = DTYPES[choice("dtype", task.dtype, DTYPES)]
    drawn = plan.sampler.sample(
        seeds, plan.nfe, cond, task.batch_size, dtype, task.device,
        on_batch=lambda rows: bar.update(weight * rows),
    )  # fmt: skip
    images = to_uint8(drawn.x)
    cell = Cell(extractor(images), images[:SHOWN], drawn.nfe, drawn.seconds)
    save_cell(path, cell)
    return cell
