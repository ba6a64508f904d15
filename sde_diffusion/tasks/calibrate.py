"""``sde-diffusion calibrate``: rules of few evaluations for one model, without back-propagation."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.calibration import Settings, Trajectories, calibrate, trajectories
from sde_diffusion.calibration.baselines import FEW
from sde_diffusion.calibration.calibrate import CHOOSING, MODES, bands_for
from sde_diffusion.calibration.normal_law import normal_law
from sde_diffusion.calibration.twin import mixture_twin
from sde_diffusion.conditions.condition import Condition
from sde_diffusion.config.compose import build, plain, read
from sde_diffusion.data import DataSource
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.errors import InputError
from sde_diffusion.models.model import guided, load
from sde_diffusion.process.noise import VERSION
from sde_diffusion.solvers.calibrated.file import Calibration, parse_rule, rule_tensors
from sde_diffusion.solvers.calibrated.normal import Normal
from sde_diffusion.solvers.calibrated.rule import Rule
from sde_diffusion.system import strict_json
from sde_diffusion.system.devices import usable_device
from sde_diffusion.system.identity import digest
from sde_diffusion.system.resume import NOISE, in_parts, settled
from sde_diffusion.system.sealed import Facts, SealedKind, Tensors
from sde_diffusion.system.storage import write_atomically
from sde_diffusion.system.tracking import Tracker
from sde_diffusion.tasks.run import job, provenance

FORMAT = 1


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
    device: str

    def check(self, cost: int) -> list[int]:
        """Calls of the denoiser for each NFE; InputError for what makes no calibration."""
        if not self.nfe:
            raise InputError("nfe=[]: give at least one number of evaluations")
        for nfe in self.nfe:
            if nfe % cost or not 2 <= nfe // cost <= 64:
                raise InputError(
                    f"nfe={nfe}: a call costs {cost} evaluation{'s' * (cost > 1)}; give "
                    f"multiples of {cost} from {2 * cost} to {64 * cost}"
                )
        if self.nodes < 2 * max(self.nfe) // cost:
            raise InputError(f"nodes={self.nodes}: give at least twice the calls of a rule")
        if not re.fullmatch(r"[\w.+-]{1,60}", self.name):
            raise InputError(f"name={self.name}: use letters, digits and _ . + -")
        self.settings.check()
        return sorted({nfe // cost for nfe in self.nfe})

    @property
    def settings(self) -> Settings:
        return Settings(
            self.noises, self.held_out, self.budget, self.tries, self.mode, self.batch_size
        )

    @property
    def seeds(self) -> range:
        return range(self.seed, self.seed + self.noises + self.held_out)


@dataclass(frozen=True)
class Made:
    """A rule with what it was measured at, on held-out noises.

    Attributes:
        errors: relative RMS error before and after the joint fit; standard: of other solvers,
            by ``SOLVER GRID``.
    """

    rule: Rule
    errors: dict[str, float]
    standard: dict[str, float]

    @property
    def best(self) -> str:
        return min(self.standard, key=self.standard.__getitem__)


def run(config: DictConfig, folder: Path) -> float:
    """Write NAME.safetensors and result.json; returns the largest error relative to a standard
    solver's."""
    task = read(config, CalibrateTask)
    device = usable_device(task.device)
    model = load(task.checkpoint)
    network = guided(config, model.denoiser)
    cond = model.condition(task.label, task.seeds)
    calls = task.check(network.cost)
    denoiser: Denoiser = network
    if task.twin is not None:
        data = build(config.data, "data", DataSource).load()
        if tuple(data.images.shape[1:]) != network.shape:
            raise InputError(f"data: images {tuple(data.images.shape[1:])}, not {network.shape}")
        twin = mixture_twin(data, task.twin, task.sigma_min, task.sigma_max, task.seed)
        denoiser, cond = guided(config, twin), None if data.labels is None else cond
    if task.sigma_min < denoiser.sigma_min or task.sigma_max > denoiser.sigma_max:
        raise InputError(
            f"sigma_min={task.sigma_min}, sigma_max={task.sigma_max}: outside the model's range "
            f"{denoiser.sigma_min:g} .. {denoiser.sigma_max:g}; give levels within it"
        )
    denoiser.to(device).requires_grad_(False)
    began = time.perf_counter()
    kept = {k: v for k, v in plain(config).items() if k not in ("tracker", "nfe", "name", "hydra")}
    depends = settled(
        folder, {**kept, "model": model.fingerprint, NOISE: VERSION}, len(task.seeds),
        task.batch_size, {f"rule{n}": RULE for n in calls},
    )  # fmt: skip
    tracker: Tracker = build(config.tracker, "tracker", Tracker)
    with tracker:
        tracker.start(job(config, folder))
        known = reference(task, denoiser, cond, folder, depends, device)
        normal = normal_law(denoiser, known, MODES, task.batch_size, device)
        made: dict[int, Made] = {}
        for n in calls:
            path = folder / "parts" / f"{digest(depends)}-rule{n}.safetensors"
            fitted = load_rule(path, n)
            if fitted is None:
                fitted = one_rule(task, denoiser, known, n, normal, device)
                save_rule(path, fitted, VERSION)
            made[n] = fitted
            print(line(n * network.cost, made[n]))
            tracker.log({"error": made[n].errors["joint"]}, n * network.cost)
        kind, edges = bands_for(task.mode, network.shape, len(normal.variances))
        facts = {
            NOISE: depends.get(NOISE, 1),
            "settings": {k: v for k, v in vars(task).items() if k not in ("device", "name")},
            "guidance": plain(config).get("guidance"),
            "held_out": {n: {**m.errors, "standard": m.standard} for n, m in made.items()},
            "seconds": round(time.perf_counter() - began, 1),
            **provenance(model, config),
        }
        found = Calibration(
            network.identity, cond is not None if task.twin is None else task.label is not None,
            network.shape, task.sigma_max, normal, {n: m.rule for n, m in made.items()}, kind,
            edges, facts,
        )  # fmt: skip
        target = folder / f"{task.name}.safetensors"
        found.save(target)
        write_atomically(
            folder / "result.json", json.dumps({"format": FORMAT, **facts}, indent=2).encode()
        )
    print(f"use it: solver=calibrated solver.path={target}")
    return max(m.errors["joint"] / m.standard[m.best] for m in made.values())


def reference(
    task: CalibrateTask,
    denoiser: Denoiser,
    cond: Condition | None,
    folder: Path,
    depends: Mapping[str, Any],
    device: torch.device | str,
) -> Trajectories:
    """The converged trajectories of all noises, in parts on disk."""

    def part(rows: slice) -> dict[str, Tensor]:
        own = None if cond is None else cond[rows]
        found = trajectories(denoiser, task.seeds[rows], own, task.nodes, task.sigma_min,
                             task.sigma_max, task.batch_size, device)  # fmt: skip
        rows_first = found.states.transpose(0, 1)
        return {"states": rows_first, "levels": found.levels.expand(rows_first.shape[0], -1)}

    made = in_parts(folder, depends, len(task.seeds), task.batch_size, part, "reference")
    return Trajectories(made["levels"][0], made["states"].transpose(0, 1), cond)


def one_rule(
    task: CalibrateTask,
    denoiser: Denoiser,
    known: Trajectories,
    n: int,
    normal: Normal,
    device: torch.device | str,
) -> Made:
    """The rule of ``n`` calls, with a bar, and the errors of standard solvers beside it."""
    # Search and joint fit may end before their budgets: the bar then jumps to its end.
    searched = task.tries * n * min(CHOOSING, task.noises)
    measured = (len(FEW) + 10) * n * task.held_out
    work = (searched + measured + task.budget * n * task.noises) * denoiser.cost
    with tqdm(total=work, desc=f"{n} calls", unit="eval", unit_scale=True) as bar:

        def hear(evaluations: int) -> None:
            bar.update(min(evaluations, work - bar.n))

        found = calibrate(denoiser, known, n, task.settings, normal, task.sigma_min, device, hear)
        hear(work)
    return Made(found.rule, {"start": found.start_error, "joint": found.error}, found.standard)


def _first_rule(metadata: Mapping[str, str], tensors: Tensors) -> Facts:
    return {k: strict_json.loads(metadata[k], finite=False) for k in ("errors", "standard")}


RULE = SealedKind("rule", 2, "run the same command again", _first_rule)


def save_rule(path: Path, made: Made, noise: int) -> None:
    """Write one rule with its errors, and the version of the noise that it was fitted to."""
    facts = {"errors": made.errors, "standard": made.standard, NOISE: noise}
    RULE.write(path, rule_tensors(made.rule), facts)


def load_rule(path: Path, n: int) -> Made | None:
    """Read what ``save_rule`` wrote of ``n`` evaluations; None if it is not there or torn."""

    def parse(facts: Facts, tensors: Tensors) -> Made:
        errors, standard = (
            {str(of): float(error) for of, error in facts[name].items()}
            for name in ("errors", "standard")
        )
        if not {"start", "joint"} <= set(errors) or not standard:
            raise ValueError("errors are missing")
        return Made(parse_rule(n, tensors), errors, standard)

    return RULE.recall(path, parse)


def line(nfe: int, made: Made) -> str:
    """One rule beside the best of the standard solvers, on held-out noises."""
    error, best = made.errors["joint"], made.standard[made.best]
    return (f"NFE {nfe:<3} error {error:.4f} (at first {made.errors['start']:.4f}), best standard "
            f"{best:.4f} ({made.best}), ratio {error / best:.2f}")  # fmt: skip
