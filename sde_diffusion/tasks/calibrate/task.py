"""``sde-diffusion calibrate``: rules of few evaluations for one model, without back-propagation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from omegaconf import DictConfig

from sde_diffusion.calibration import Fitted, Settings
from sde_diffusion.calibration.calibrate import MODES
from sde_diffusion.calibration.twin import mixture_twin
from sde_diffusion.config.command import typed_keys
from sde_diffusion.config.compose import build
from sde_diffusion.data import DataSource
from sde_diffusion.data.prompts import prompt_lines
from sde_diffusion.denoisers.precision import recorded
from sde_diffusion.errors import InputError
from sde_diffusion.guidance.base import contents
from sde_diffusion.models.opened import OpenedModel
from sde_diffusion.process.sde import SigmaMax, SigmaMin
from sde_diffusion.system.notice import later
from sde_diffusion.system.ranges import Batch, Seed, Within
from sde_diffusion.system.resume import NOISE
from sde_diffusion.tasks.calibrate.fitting import LEAST, MOST, Fitting, calls_of, ends_of, start_of
from sde_diffusion.tasks.composed import guided
from sde_diffusion.tasks.run import Run


@dataclass
class CalibrateTask:
    """Keys of the task."""

    checkpoint: str
    name: str
    nfe: list[int]
    label: Any
    prompt: Any
    prompts: str | None
    negative: Any
    mode: str
    modes: Annotated[int, Within("1 <= modes <= 4096")]
    noises: Annotated[int, Within("8 <= noises <= 1000000")]
    held_out: Annotated[int, Within("2 <= held_out <= 1000000")]
    nodes: Annotated[int, Within("2 <= nodes <= 100000")]
    budget: Annotated[int, Within("0 <= budget <= 100000")]
    tries: Annotated[int, Within("1 <= tries <= 1000000")]
    twin: int | None
    seed: Seed
    sigma_min: SigmaMin
    sigma_max: SigmaMax
    batch_size: Batch
    precision: str
    channels_last: bool
    compile: bool
    device: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.+-]{1,60}", self.name):
            raise InputError(f"name={self.name}: use letters, digits and _ . + -")
        if self.twin is None and "data" in typed_keys():
            raise InputError("data: read only for a twin; give twin=4, or leave it out")
        self.settings.check()

    @property
    def settings(self) -> Settings:
        """Those of the fit."""
        return Settings(
            self.noises,
            self.held_out,
            self.budget,
            self.tries,
            self.mode,
            self.batch_size,
            self.modes,
        )

    @property
    def seeds(self) -> range:
        """Of the noises, those fitted to first."""
        return range(self.seed, self.seed + self.noises + self.held_out)


def run(config: DictConfig, folder: Path) -> float:
    """Write NAME.safetensors and result.json; returns the largest error relative to a standard
    solver's."""
    with Run(config, folder, CalibrateTask) as job:
        task, cost = job.task, job.denoiser.cost
        fitting, conditional = fitting_of(job)
        job.begin()

        def heard(calls: int, rule: Fitted) -> None:
            job.say(line(calls * cost, rule))
            job.output.log({"error": rule.error}, calls * cost)

        rules, normal, noise = fitting.run(folder, dependence(job), heard)
        if job.helps:
            return 0.0
        facts = {
            NOISE: noise,
            "settings": {k: v for k, v in vars(task).items() if k not in ("device", "name")},
            "guidance": job.recorded().get("guidance"),
            "seconds": job.seconds,
            **job.provenance(job.model),
        }
        calibration = fitting.calibration(rules, normal, job.denoiser, conditional, facts)
        target = folder / f"{task.name}.safetensors"
        calibration.save(target)
        job.result(dict(calibration.facts))
    print(f"use it: solver=calibrated solver.path={target}")
    return max(rule.error / rule.standard[best(rule)] for rule in rules.values())


def fitting_of(job: Run[CalibrateTask]) -> tuple[Fitting, bool]:
    """What is fitted to, the model or a twin of the data, and whether it is asked with labels."""
    task, denoiser = job.task, job.denoiser
    cond = job.condition(task.seeds, denoiser.classes_of_guidance)
    if task.negative is not None and not denoiser.asks_empty:
        raise InputError(
            f"negative={task.negative}: nothing leads away from it; add guidance=[cfg]"
        )
    calls = calls_of(task.nfe, denoiser.cost, task.nodes)
    low, high = ends(task, job.model)
    conditional = cond is not None
    if task.twin is not None:
        data = build(job.config.data, "data", DataSource).read()
        if tuple(data.images.shape[1:]) != denoiser.shape:
            raise InputError(f"data: images {tuple(data.images.shape[1:])}, not {denoiser.shape}")
        twin = mixture_twin(data, task.twin, low, high, task.seed)
        denoiser, cond = guided(job.config, twin), None if data.labels is None else cond
    fitting = Fitting(
        denoiser,
        cond,
        task.seeds,
        calls,
        task.settings,
        task.nodes,
        low,
        high,
        job.device,
        bar=not job.helps,
        start=start_of(job.model, high),
    )
    return fitting, conditional


def ends(task: CalibrateTask, model: OpenedModel) -> tuple[float, float]:
    """The ends of all rules: those of the grid that a model brings, where the task has its usual
    ones; a line says so."""
    asked = task.sigma_min, task.sigma_max
    if model.grid is None or asked != (LEAST, MOST):
        return asked
    low, high = ends_of(model)
    later(f"sigma_min={low:g}, sigma_max={high:g}: those of the model's own grid")
    return low, high


def dependence(job: Run[CalibrateTask]) -> Mapping[str, Any]:
    """All that the trajectories and the rules depend on, beside the noise."""
    kept = job.recorded("tracker", "nfe", "name", "precision", "channels_last", "compile")
    if job.task.precision != "float32":  # which all were before there was a choice
        kept["precision"] = recorded(job.task.precision)
    if job.task.modes == MODES:  # which all had before there was a choice
        del kept["modes"]
    for word in ("prompt", "prompts", "negative"):  # nothing was said of them before there were any
        if kept[word] is None:
            del kept[word]
    if job.task.prompts is not None:
        kept["prompts"] = prompt_lines(job.task.prompts)
    if content := contents(job.denoiser):
        kept["guidance_content"] = content
    return {**kept, "model": job.model.fingerprint}


def best(fitted: Fitted) -> str:
    """The standard solver of least error."""
    return min(fitted.standard, key=fitted.standard.__getitem__)


def line(nfe: int, fitted: Fitted) -> str:
    """One rule beside the best of the standard solvers, on held-out noises."""
    name = best(fitted)
    least = fitted.standard[name]
    return (
        f"NFE {nfe:<3} error {fitted.error:.4g} (at first {fitted.start_error:.4g}), best standard "
        f"{least:.4g} ({name}), ratio {fitted.error / least:.2g}"
    )
