"""``sde-diffusion calibrate``: rules of few evaluations for one model, without back-propagation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.calibration import Settings, Trajectories, calibrate, trajectories
from sde_diffusion.calibration.baselines import FEW
from sde_diffusion.calibration.calibrate import CHOOSING, MODES, Fitted, bands_for
from sde_diffusion.calibration.normal_law import normal_law
from sde_diffusion.calibration.twin import mixture_twin
from sde_diffusion.conditions.condition import Condition
from sde_diffusion.config.compose import build
from sde_diffusion.data import DataSource
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.denoisers.precision import recorded
from sde_diffusion.errors import InputError
from sde_diffusion.process.noise import VERSION
from sde_diffusion.solvers.calibrated.file import Calibration, parse_rule, rule_tensors
from sde_diffusion.solvers.calibrated.normal import Normal
from sde_diffusion.system import strict_json
from sde_diffusion.system.identity import digest
from sde_diffusion.system.resume import NOISE, in_parts, settled
from sde_diffusion.system.sealed import Facts, SealedKind, Tensors
from sde_diffusion.tasks.composed import guided
from sde_diffusion.tasks.run import Run


@dataclass
class CalibrateTask:
    """Keys of the task."""

    checkpoint: str
    name: str
    nfe: list[int]
    label: Any
    mode: str
    noises: int
    held_out: int
    nodes: int
    budget: int
    tries: int
    twin: int | None
    seed: int
    sigma_min: float
    sigma_max: float
    batch_size: int
    precision: str
    device: str

    def __post_init__(self) -> None:
        if not self.nfe:
            raise InputError("nfe=[]: give at least one number of evaluations")
        if not re.fullmatch(r"[\w.+-]{1,60}", self.name):
            raise InputError(f"name={self.name}: use letters, digits and _ . + -")
        self.settings.check()

    def calls(self, cost: int) -> list[int]:
        """Calls of the denoiser for each NFE; InputError for what makes no rule."""
        for nfe in self.nfe:
            if nfe % cost or not 2 <= nfe // cost <= 64:
                raise InputError(
                    f"nfe={nfe}: a call costs {cost} evaluation{'s' * (cost > 1)}; give "
                    f"multiples of {cost} from {2 * cost} to {64 * cost}"
                )
        if self.nodes < 2 * max(self.nfe) // cost:
            raise InputError(f"nodes={self.nodes}: give at least twice the calls of a rule")
        return sorted({nfe // cost for nfe in self.nfe})

    @property
    def settings(self) -> Settings:
        """Those of the fit."""
        return Settings(
            self.noises, self.held_out, self.budget, self.tries, self.mode, self.batch_size
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
        calls = task.calls(cost)
        denoiser, cond = fitted_to(job)
        job.begin()
        depends = dependence(job, calls)
        exact = reference(job, denoiser, cond, depends)
        normal = normal_law(denoiser, exact, MODES, task.batch_size, job.device)
        rules: dict[int, Fitted] = {}
        for n in calls:
            path = folder / "parts" / f"{digest(depends)}-rule{n}.safetensors"
            rule = load_rule(path, n)
            if rule is None:
                rule = one_rule(job, denoiser, exact, n, normal)
                save_rule(path, rule, VERSION)
            rules[n] = rule
            print(line(n * cost, rule))
            job.output.log({"error": rule.error}, n * cost)
        calibration = joined(job, rules, normal, depends.get(NOISE, 1))
        target = folder / f"{task.name}.safetensors"
        calibration.save(target)
        job.result(dict(calibration.facts))
    print(f"use it: solver=calibrated solver.path={target}")
    return max(rule.error / rule.standard[best(rule)] for rule in rules.values())


def fitted_to(job: Run[CalibrateTask]) -> tuple[Denoiser, Condition | None]:
    """The guided denoiser whose trajectories are fitted to, and its condition: the model, or a
    twin of the data."""
    task, denoiser, cond = job.task, job.denoiser, job.condition(job.task.seeds)
    if task.twin is not None:
        data = build(job.config.data, "data", DataSource).load()
        if tuple(data.images.shape[1:]) != denoiser.shape:
            raise InputError(f"data: images {tuple(data.images.shape[1:])}, not {denoiser.shape}")
        twin = mixture_twin(data, task.twin, task.sigma_min, task.sigma_max, task.seed)
        denoiser, cond = guided(job.config, twin), None if data.labels is None else cond
    if task.sigma_min < denoiser.sigma_min or task.sigma_max > denoiser.sigma_max:
        raise InputError(
            f"sigma_min={task.sigma_min}, sigma_max={task.sigma_max}: outside the model's range "
            f"{denoiser.sigma_min:g} .. {denoiser.sigma_max:g}; give levels within it"
        )
    denoiser.to(job.device).requires_grad_(False)
    return denoiser, cond


def dependence(job: Run[CalibrateTask], calls: Sequence[int]) -> Mapping[str, Any]:
    """All that the trajectories and the rules depend on."""
    task = job.task
    kept = job.recorded("tracker", "nfe", "name", "precision")
    if task.precision != "float32":  # which all were before there was a choice
        kept["precision"] = recorded(task.precision)
    depends = {**kept, "model": job.model.fingerprint, NOISE: VERSION}
    rules = {f"rule{n}": RULE for n in calls}
    return settled(job.output.folder, depends, len(task.seeds), task.batch_size, rules)


def reference(
    job: Run[CalibrateTask], denoiser: Denoiser, cond: Condition | None, depends: Mapping[str, Any]
) -> Trajectories:
    """The converged trajectories of all noises, in parts on disk."""
    task = job.task

    def part(rows: slice) -> dict[str, Tensor]:
        part_cond = None if cond is None else cond[rows]
        exact = trajectories(denoiser, task.seeds[rows], part_cond, task.nodes, task.sigma_min,
                             task.sigma_max, task.batch_size, job.device)  # fmt: skip
        rows_first = exact.states.transpose(0, 1)
        return {"states": rows_first, "levels": exact.levels.expand(rows_first.shape[0], -1)}

    folder, size = job.output.folder, task.batch_size
    whole = in_parts(folder, depends, len(task.seeds), size, part, "reference")
    return Trajectories(whole["levels"][0], whole["states"].transpose(0, 1), cond)


def one_rule(
    job: Run[CalibrateTask], denoiser: Denoiser, exact: Trajectories, n: int, normal: Normal
) -> Fitted:
    """The rule of ``n`` calls, with a bar, and the errors of standard solvers beside it."""
    task = job.task
    # Search and joint fit may end before their budgets: the bar then jumps to its end.
    searched = task.tries * n * min(CHOOSING, task.noises)
    measured = (len(FEW) + 10) * n * task.held_out
    work = (searched + measured + task.budget * n * task.noises) * denoiser.cost
    with tqdm(total=work, desc=f"{n} calls", unit="eval", unit_scale=True) as bar:

        def hear(evaluations: int) -> None:
            bar.update(min(evaluations, work - bar.n))

        rule = calibrate(
            denoiser, exact, n, task.settings, normal, task.sigma_min, job.device, hear
        )
        hear(work)
    return rule


def joined(
    job: Run[CalibrateTask], rules: Mapping[int, Fitted], normal: Normal, noise: int
) -> Calibration:
    """All rules as one calibration of the model, with the version of the noise."""
    task, denoiser = job.task, job.denoiser
    kind, edges = bands_for(task.mode, denoiser.shape, len(normal.variances))
    errors = {
        n: {"start": rule.start_error, "joint": rule.error, "standard": rule.standard}
        for n, rule in rules.items()
    }
    return Calibration(
        model=denoiser.identity,
        conditional=task.label is not None and (task.twin is not None or job.model.classes > 0),
        shape=denoiser.shape,
        sigma_max=task.sigma_max,
        normal=normal,
        rules={n: rule.rule for n, rule in rules.items()},
        kind=kind,
        edges=edges,
        facts={
            NOISE: noise,
            "settings": {k: v for k, v in vars(task).items() if k not in ("device", "name")},
            "guidance": job.recorded().get("guidance"),
            "held_out": errors,
            "seconds": job.seconds,
            **job.provenance(job.model),
        },
    )


def _first_rule(metadata: Mapping[str, str], tensors: Tensors) -> Facts:
    return {k: strict_json.loads(metadata[k], finite=False) for k in ("errors", "standard")}


RULE = SealedKind("rule", 2, "run the same command again", _first_rule)


def save_rule(path: Path, fitted: Fitted, noise: int) -> None:
    """Write one rule with its errors, and the version of the noise that it was fitted to."""
    errors = {"start": fitted.start_error, "joint": fitted.error}
    facts = {"errors": errors, "standard": fitted.standard, NOISE: noise}
    RULE.write(path, rule_tensors(fitted.rule), facts)


def load_rule(path: Path, n: int) -> Fitted | None:
    """Read what ``save_rule`` wrote of ``n`` evaluations; None if it is not there or torn."""

    def parse(facts: Facts, tensors: Tensors) -> Fitted:
        start, joint = (float(facts["errors"][name]) for name in ("start", "joint"))
        standard = {str(name): float(error) for name, error in facts["standard"].items()}
        return Fitted(parse_rule(n, tensors), start, joint, standard)

    return RULE.recall(path, parse)


def best(fitted: Fitted) -> str:
    """The standard solver of least error."""
    return min(fitted.standard, key=fitted.standard.__getitem__)


def line(nfe: int, fitted: Fitted) -> str:
    """One rule beside the best of the standard solvers, on held-out noises."""
    name = best(fitted)
    least = fitted.standard[name]
    return (
        f"NFE {nfe:<3} error {fitted.error:.4f} (at first {fitted.start_error:.4f}), best standard "
        f"{least:.4f} ({name}), ratio {fitted.error / least:.2f}"
    )
