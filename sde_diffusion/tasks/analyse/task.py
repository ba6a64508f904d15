"""``sde-diffusion analyse``: which solver on which grid suits a data set, before any network runs.

The data set is replaced by the Gaussian of its mean and covariance, on which the error of every
linear solver is known exactly.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from omegaconf import DictConfig
from tqdm import tqdm

from sde_diffusion.config.choices import choice
from sde_diffusion.config.compose import build
from sde_diffusion.data import DataSource
from sde_diffusion.errors import InputError
from sde_diffusion.exact import relative_error
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.process.grids import Karras
from sde_diffusion.process.sde import SDE, SigmaMax, SigmaMin
from sde_diffusion.process.spectrum import SPECTRUM, DataSpectrum
from sde_diffusion.report.exact import Row, best, page, panels, text_table, unique
from sde_diffusion.system.bars import hidden
from sde_diffusion.system.output import FORMAT
from sde_diffusion.system.ranges import Within
from sde_diffusion.tasks.analyse.pairs import Pair, pairs
from sde_diffusion.tasks.analyse.spectra import MODES
from sde_diffusion.tasks.run import Run


@dataclass
class AnalyseTask:
    """Keys of the task."""

    solvers: list[Any]
    grids: list[Any]
    nfe: Annotated[list[int], Within("1 <= nfe <= 100000")]
    modes: str
    sigma_min: SigmaMin
    sigma_max: SigmaMax

    def __post_init__(self) -> None:
        if not (self.solvers and self.grids and self.nfe):
            raise InputError("solvers, grids, nfe: give at least one of each")
        if min(self.nfe) < 1:
            raise InputError(f"nfe={self.nfe}: give numbers >= 1")
        choice("modes", self.modes, MODES)


def run(config: DictConfig, folder: Path) -> float:
    """Write analyse.csv, .json, .png and .md; returns the least error at the largest NFE."""
    with Run(config, folder, AnalyseTask) as job:
        task = job.task
        sde: SDE = build(config.sde, "sde", SDE)
        ends = reached(sde, task.sigma_min, task.sigma_max)
        chosen = pairs(sde, task.solvers, task.grids, ends)
        images: ImageSet = build(config.data, "data", DataSource).read()
        spectrum, path = known_spectrum(images, task.modes, folder)
        job.begin()
        rows = measure([pair.on(spectrum, path) for pair in chosen], task.nfe, sde, spectrum)
        facts = {
            "data": images.name,
            "data_fingerprint": images.fingerprint,
            "images": len(images),
            "d": len(spectrum.variance),
            "modes": task.modes,
            **job.provenance(None),
        }
        job.output.table("analyse", rows)
        job.output.json("analyse.json", {"format": FORMAT, "provenance": facts, "rows": rows})
        job.output.write("analyse.md", page(rows, facts))
        grids = {grid: [r for r in rows if r["grid"] == grid] for grid in unique(rows, "grid")}
        title = f"Exact error on the Gaussian of {images.name}"
        job.output.picture("analyse.png", lambda: panels(grids, "solver", title))
    print(summary(rows, facts, folder))
    return float(best(rows)[max(unique(rows, "nfe"))]["error"])


def reached(sde: SDE, sigma_min: float, sigma_max: float) -> dict[str, float]:
    """The noise levels that all grids begin and end at; InputError unless the process reaches
    them."""
    if not 0 < sigma_min < sigma_max:
        raise InputError(f"sigma_min={sigma_min}: give 0 < sigma_min < sigma_max={sigma_max}")
    try:
        Karras(sigma_min=sigma_min, sigma_max=sigma_max).times(sde, 1)
    except InputError as error:
        text = str(error).replace("grid.sigma_max", "sigma_max")
        raise InputError(f"sigma_max={sigma_max}: {text}") from error
    return {"sigma_min": sigma_min, "sigma_max": sigma_max}


def known_spectrum(images: ImageSet, kind: str, folder: Path) -> tuple[DataSpectrum, Path]:
    """The spectrum of ``images``, from this folder if an earlier run has left it, and its file."""
    path = folder / f"spectrum-{kind}-{images.fingerprint}.safetensors"
    spectrum = SPECTRUM.recall(path, DataSpectrum.parse)
    if spectrum is None:
        spectrum = spectrum_of(images, kind)
        spectrum.save(path)
    return spectrum, path


def spectrum_of(images: ImageSet, kind: str) -> DataSpectrum:
    """The spectrum of ``images``; InputError where there is none."""
    spectrum = MODES[kind](images)
    if not float(spectrum.variance.max()) > 0:
        raise InputError(f"data: the {len(images)} images are all the same; give others")
    return spectrum


def measure(
    chosen: Sequence[Pair],
    budgets: Sequence[int],
    sde: SDE,
    spectrum: DataSpectrum,
    progress: bool = True,
) -> list[Row]:
    """One row for each pair and each NFE that buys whole steps."""
    rows: list[Row] = []
    refused: list[InputError] = []
    work = len(chosen) * len(set(budgets))
    with tqdm(total=work, desc="analyse", unit="cell", disable=hidden(progress)) as bar:
        for pair in chosen:
            for nfe in sorted(set(budgets)):
                bar.update()
                try:
                    rows.append(_row(pair, nfe, sde, spectrum))
                except InputError as no_whole_step:
                    refused.append(no_whole_step)
    if not rows:
        raise refused[0]
    return rows


def _row(pair: Pair, nfe: int, sde: SDE, spectrum: DataSpectrum) -> Row:
    """The error of a pair; InputError if the budget buys no whole step."""
    times = pair.grid.times(sde, pair.solver.steps(nfe))
    error = relative_error(pair.solver, sde, times, spectrum.variance, spectrum.mean)
    return {
        "solver": pair.solver_label,
        "grid": pair.grid_label,
        "nfe": nfe,
        "steps": len(times) - 1,
        "order": pair.solver.order,
        "stochastic": pair.solver.stochastic,
        "error": error if math.isfinite(error) else math.inf,
        "command": pair.words
        and shlex.join(["sde-diffusion", "sample", *pair.words, f"nfe={nfe}"]),
    }


def summary(rows: Sequence[Row], facts: dict[str, Any], folder: Path) -> str:
    """The table, and the command of the best pair at each NFE."""
    few = (
        f"{facts['images']} images in {facts['d']} dimensions: the directions that they do not "
        "span count as constant; give more images, if you have them\n"
    )
    return "\n".join(
        [
            f"\nRelative W2 error on the Gaussian of {facts['data']} (d = {facts['d']}, "
            f"{facts['modes']}), each solver on its best grid; * the best at that NFE\n",
            f"{text_table(rows)}\n\npage: {folder / 'analyse.md'}\n",
            *([few] if facts["images"] <= facts["d"] else []),
            "The best at each NFE:",
            *(f"NFE {n:<4} {row['error']:<8.2g} {row['command']}" for n, row in best(rows).items()),
        ]
    )
