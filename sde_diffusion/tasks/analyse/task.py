"""``sde-diffusion analyse``: which solver on which grid suits a data set, before any network runs.

The data set is replaced by the Gaussian of its mean and covariance, on which the error of every
linear solver is known exactly.
"""

from __future__ import annotations

import json
import math
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from tqdm import tqdm

from sde_diffusion.config import groups
from sde_diffusion.config.choices import Choice, choice, entries
from sde_diffusion.config.compose import build, plain, read
from sde_diffusion.config.schema import MISSING
from sde_diffusion.data import DataSource
from sde_diffusion.errors import InputError
from sde_diffusion.exact import relative_error
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.process.grids import Karras, TimeGrid
from sde_diffusion.process.sde import SDE
from sde_diffusion.process.spectrum import Spectrum
from sde_diffusion.report.exact import (
    Row,
    best,
    csv_bytes,
    markdown_table,
    panels,
    text_table,
    unique,
)
from sde_diffusion.solvers.base import Solver
from sde_diffusion.system.provenance import machine
from sde_diffusion.system.storage import write_atomically
from sde_diffusion.system.tracking import Tracker
from sde_diffusion.tasks.analyse.spectra import MODES
from sde_diffusion.tasks.run import job

FORMAT = 1
OWN = "default"  # the grid that a solver's yaml names
DEFAULT_SDE = "edm"  # of the task sample


@dataclass
class AnalyseTask:
    """Keys of the task."""

    solvers: list[Any]
    grids: list[Any]
    nfe: list[int]
    modes: str
    sigma_min: float
    sigma_max: float


@dataclass(frozen=True)
class Pair:
    """A solver on a grid, and the words that choose them on the command line."""

    solver_label: str
    grid_label: str
    solver: Solver
    grid: TimeGrid
    words: list[str]

    def on(self, spectrum: Path) -> Pair:
        """A searched grid that names no spectrum takes this one."""
        if self.grid.fields().get("spectrum", "") is not None:
            return self
        file = os.path.relpath(spectrum)
        grid = self.grid.changed(spectrum=file)
        return replace(self, grid=grid, words=[*self.words, f"grid.spectrum={file}"])


def run(config: DictConfig, folder: Path) -> float:
    """Write analyse.csv, .json, .png and .md; returns the least error at the largest NFE."""
    task = read(config, AnalyseTask)
    if not (task.solvers and task.grids and task.nfe):
        raise InputError("solvers, grids, nfe: give at least one of each")
    if min(task.nfe) < 1:
        raise InputError(f"nfe={task.nfe}: give numbers >= 1")
    choice("modes", task.modes, MODES)
    sde = build(config.sde, "sde", SDE)
    _reach(sde, task)
    checked = pairs(config, task)
    images: ImageSet = build(config.data, "data", DataSource).load().as_pictures()
    spectrum, path = known_spectrum(images, task.modes, folder)
    todo = [pair.on(path) for pair in checked]
    tracker: Tracker = build(config.tracker, "tracker", Tracker)
    with tracker:
        tracker.start(job(config, folder))
        rows = measure(todo, task, sde, spectrum)
        facts = {
            "data": images.name,
            "data_fingerprint": images.fingerprint,
            "images": len(images),
            "d": len(spectrum.variance),
            "modes": task.modes,
            **machine(),
            "config": {k: v for k, v in plain(config).items() if k != "hydra"},
        }
        _write(folder, rows, facts)
        tracker.table("analyse", rows)
        tracker.image("analyse", folder / "analyse.png")
    print(
        f"\nRelative W2 error on the Gaussian of {images.name} (d = {facts['d']}, {task.modes}), "
        f"each solver on its best grid; * the best at that NFE\n\n{text_table(rows)}\n\n"
        f"page: {folder / 'analyse.md'}\n"
    )
    if len(images) <= len(spectrum.variance):
        print(
            f"{len(images)} images in {facts['d']} dimensions: the directions that they do not "
            "span count as constant; give more images, if you have them\n"
        )
    print("The best at each NFE:")
    for nfe, row in best(rows).items():
        print(f"NFE {nfe:<4} {row['error']:<8.2g} {row['command']}")
    return float(best(rows)[max(unique(rows, "nfe"))]["error"])


def _reach(sde: SDE, task: AnalyseTask) -> None:
    """InputError unless the process reaches the noise levels asked for."""
    if not 0 < task.sigma_min < task.sigma_max:
        raise InputError(
            f"sigma_min={task.sigma_min}: give 0 < sigma_min < sigma_max={task.sigma_max}"
        )
    try:
        Karras(sigma_min=task.sigma_min, sigma_max=task.sigma_max).times(sde, 1)
    except InputError as error:
        text = str(error).replace("grid.sigma_max", "sigma_max")
        raise InputError(f"sigma_max={task.sigma_max}: {text}") from error


def known_spectrum(images: ImageSet, kind: str, folder: Path) -> tuple[Spectrum, Path]:
    """The spectrum of ``images``, from this folder if an earlier run has left it, and its file."""
    path = folder / f"spectrum-{kind}-{images.fingerprint}.safetensors"
    if path.is_file():
        return Spectrum.load(path, "hydra.run.dir"), path
    found = MODES[kind](images)
    if not float(found.variance.max()) > 0:
        raise InputError(f"data: the {len(images)} images are all the same; give others")
    found.save(path)
    return found, path


def pairs(config: DictConfig, task: AnalyseTask) -> list[Pair]:
    """Every solver on every grid, checked before the data are read."""
    process = sde_words(build(config.sde, "sde", SDE))
    grids = {entry.label: entry for entry in entries(task.grids, "grid")}
    for asked in grids.values():
        _check_complete(asked)
    found = []
    for entry in entries(task.solvers, "solver"):
        solver: Solver = entry.component()
        _check_known(entry.label, solver)
        for label, asked in grids.items():
            own = label == OWN
            name = entry.default_grid() if own else asked.name
            if name is None:
                raise InputError(f"grids: {entry.label} names no default grid; leave 'default' out")
            grid, ends = _between(name, {} if own else asked.fields, task)
            words = (entry if own else replace(entry, grid=None)).words()
            words = [*process, *words, *([] if own else asked.words()), *ends]
            found.append(Pair(entry.label, label, solver, grid, words))
    return found


def _check_complete(grid: Choice) -> None:
    """InputError for a grid that lacks a field which only a user can give."""
    if grid.label == OWN:
        return
    stated = {**groups.node("grid", grid.name), **grid.fields}
    missing = [key for key, value in stated.items() if value == MISSING]
    if missing:
        raise InputError(
            f"grids: {grid.label} needs {', '.join(missing)}; give {{LABEL: {{grid: "
            f"{grid.name}, {missing[0]}: VALUE}}}}"
        )


def _check_known(label: str, solver: Solver) -> None:
    """InputError unless the solver's error on a Gaussian is known exactly."""
    if solver.grid is not None:
        raise InputError(
            f"solvers: {label} was fitted to one network; a Gaussian says nothing of it: leave "
            "it out, or use 'compare'"
        )
    if not solver.linear:
        raise InputError(
            f"solvers: {label} is no linear map (norms of the state, or error control): its "
            "error is not known exactly; leave it out, or use 'compare'"
        )


def _between(name: str, fields: Mapping[str, Any], task: AnalyseTask) -> tuple[TimeGrid, list[str]]:
    """A grid between the ends of the task, and the words that say so where it has others."""
    stated: dict[str, Any] = {**groups.node("grid", name), **fields}
    ends: dict[str, Any] = {
        key: getattr(task, key) for key in ("sigma_min", "sigma_max") if key in stated
    }
    given = dict(fields) | ends
    grid: TimeGrid = groups.make("grid", name, **given)
    return grid, [f"grid.{key}={v:g}" for key, v in ends.items() if stated[key] != v]


def sde_words(sde: SDE) -> list[str]:
    """The words that choose a process in ``sample``, whose own they leave out."""
    try:
        name = groups.choice_of("sde", sde)
    except InputError:  # of another package, without a yaml
        return [f"++sde.{key}={value}" for key, value in sde.fields().items()]
    usual: SDE = groups.make("sde", name)
    others = [f"sde.{k}={v}" for k, v in sde.fields().items() if usual.fields()[k] != v]
    return [f"sde={name}", *others] if name != DEFAULT_SDE or others else []


def measure(todo: list[Pair], task: AnalyseTask, sde: SDE, spectrum: Spectrum) -> list[Row]:
    """One row for each pair and each NFE that buys whole steps."""
    rows: list[Row] = []
    refused: list[InputError] = []
    budgets = sorted(set(task.nfe))
    bar = tqdm(total=len(todo) * len(budgets), desc="analyse", unit="cell")
    for pair in todo:
        for nfe in budgets:
            bar.update()
            try:
                times = pair.grid.times(sde, pair.solver.steps(nfe))
            except InputError as no_whole_step:
                refused.append(no_whole_step)
                continue
            error = relative_error(pair.solver, sde, times, spectrum.variance, spectrum.mean)
            command = shlex.join(["sde-diffusion", "sample", *pair.words, f"nfe={nfe}"])
            rows.append({"solver": pair.solver_label, "grid": pair.grid_label, "nfe": nfe,
                         "steps": len(times) - 1, "order": pair.solver.order,
                         "stochastic": pair.solver.stochastic,
                         "error": error if math.isfinite(error) else math.inf,
                         "command": command})  # fmt: skip
    bar.close()
    if not rows:
        raise refused[0]
    return rows


def _write(folder: Path, rows: list[Row], facts: dict[str, Any]) -> None:
    title = f"Exact error on the Gaussian of {facts['data']}"
    grids = {g: [row for row in rows if row["grid"] == g] for g in unique(rows, "grid")}
    winners = "\n".join(
        f"| {nfe} | {row['solver']} | {row['grid']} | {row['error']:.2g} | `{row['command']}` |"
        for nfe, row in best(rows).items()
    )
    text = f"""# {title}

The data are replaced by the Gaussian of their mean and covariance ({facts["images"]} images,
d = {facts["d"]}, {facts["modes"]}; fingerprint {facts["data_fingerprint"]}) and the network by its
exact denoiser. What is left is the error of the solver on its grid: the Wasserstein-2 distance of
the law that it makes to the exact one, over the root of the total variance. Nothing is sampled.

| NFE | solver | grid | error | command |
| --- | --- | --- | --- | --- |
{winners}

![error against evaluations](analyse.png)

{markdown_table(rows)}

{facts["machine"]}, {facts["date"]}, revision {facts["revision"]}.
"""
    content = {"format": FORMAT, "provenance": facts, "rows": rows}
    write_atomically(folder / "analyse.csv", csv_bytes(rows))
    write_atomically(folder / "analyse.json", json.dumps(content, indent=1).encode())
    write_atomically(folder / "analyse.png", panels(grids, "solver", title))
    write_atomically(folder / "analyse.md", text.encode())
