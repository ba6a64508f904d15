"""Rules for one denoiser, fitted in a folder that keeps what is finished."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.calibration import Fitted, Settings, Trajectories, calibrate, trajectories
from sde_diffusion.calibration.baselines import FEW
from sde_diffusion.calibration.calibrate import CHOOSING, bands_for
from sde_diffusion.calibration.normal_law import normal_law
from sde_diffusion.calibration.trajectory import reference_levels
from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser, check_means
from sde_diffusion.errors import DivergedError, InputError
from sde_diffusion.images.pixels import not_finite
from sde_diffusion.models.opened import OpenedModel
from sde_diffusion.process.noise import VERSION
from sde_diffusion.solvers.calibrated.file import Calibration, parse_rule, rule_tensors
from sde_diffusion.solvers.calibrated.normal import Normal
from sde_diffusion.system import strict_json
from sde_diffusion.system.bars import hidden
from sde_diffusion.system.identity import digest
from sde_diffusion.system.notice import notice
from sde_diffusion.system.processes import size
from sde_diffusion.system.resume import NOISE, in_parts, settled
from sde_diffusion.system.sealed import Facts, SealedKind, Tensors
from sde_diffusion.system.share import shared

LEAST, MOST = 0.002, 80.0  # ends of all rules, where the model reaches as far


def calls_of(nfe: Sequence[int], cost: int, nodes: int) -> list[int]:
    """Calls of the denoiser for each NFE; InputError for what makes no rule."""
    if not nfe:
        raise InputError("nfe=[]: give at least one number of evaluations")
    for number in nfe:
        if number % cost or not 2 <= number // cost <= 64:
            spent = f"a call costs {cost} evaluations; give multiples of {cost}"
            raise InputError(
                f"nfe={number}: {spent if cost > 1 else 'give numbers of evaluations'} from "
                f"{2 * cost} to {64 * cost}"
            )
    if nodes < 2 * max(nfe) // cost:
        raise InputError(f"nodes={nodes}: give at least twice the calls of a rule")
    return sorted({number // cost for number in nfe})


def ends_of(model: OpenedModel) -> tuple[float, float]:
    """The ends that rules of a model have where nothing else is asked for: those of the grid of its
    files, as far as they are finite, else of its range."""
    low, high = model.denoiser.sigma_min, model.denoiser.sigma_max
    if model.grid is not None and math.isfinite(model.grid.sigma_max):
        return max(LEAST, low), min(model.grid.sigma_max, high)
    return max(LEAST, low), min(MOST, high)


def start_of(model: OpenedModel, sigma_max: float) -> float:
    """The factor of the first state: that of the grid of its files, where it begins there."""
    grid = model.grid
    return grid.start_factor(sigma_max) if grid and grid.sigma_max == sigma_max else 1.0


@dataclass(frozen=True)
class Fitting:
    """What is fitted to, and how much may be spent on it.

    Attributes:
        denoiser: guided, a network or a twin of the data. cond: of the noises.
        seeds: of the noises, those fitted to first. calls: of each rule.
        nodes: evaluations a noise of the converged reference.
        sigma_min, sigma_max: ends of all rules.
        bar: draw bars. start: the first state is start sigma_max n.
    """

    denoiser: Denoiser
    cond: Condition | None
    seeds: Sequence[int]
    calls: Sequence[int]
    settings: Settings
    nodes: int
    sigma_min: float
    sigma_max: float
    device: torch.device
    bar: bool = True
    start: float = 1.0

    def __post_init__(self) -> None:
        check_means(self.denoiser)
        low, high = self.denoiser.sigma_min, self.denoiser.sigma_max
        if not low <= self.sigma_min < self.sigma_max <= high:
            raise InputError(
                f"sigma_min={self.sigma_min}, sigma_max={self.sigma_max}: outside the model's "
                f"range {low:g} .. {high:g}; give levels within it"
            )
        self.settings.check()
        levels = reference_levels(self.nodes, self.sigma_min, self.sigma_max)
        self.denoiser.check_asked(levels[:-1].tolist)
        self.denoiser.to(self.device)

    def run(
        self, folder: Path, depends: Mapping[str, Any], heard: Callable[[int, Fitted], None]
    ) -> tuple[dict[int, Fitted], Normal, int]:
        """The rules by calls, the law that they share, and the version of the noise.

        Args:
            folder: what is finished is kept in it, and taken from it.
            depends: all that the numbers depend on.
            heard: is told of each rule, also of one that was kept.
        """
        batch_size = self.settings.batch_size
        kinds = {f"rule{n}": RULE for n in self.calls}
        depends = {**depends, NOISE: VERSION}
        depends |= {} if self.start == 1 else {"start": self.start}
        depends = settled(folder, depends, len(self.seeds), batch_size, kinds)
        exact = self._reference(folder, depends)
        normal = normal_law(self.denoiser, exact, self.settings.modes, batch_size, self.device)
        rules: dict[int, Fitted] = {}

        def path(n: int) -> Path:
            return folder / "parts" / f"{digest(depends)}-rule{n}.safetensors"

        def make(n: int) -> None:
            rules[n] = self._rule(exact, n, normal)
            save_rule(path(n), rules[n], VERSION)

        def whole(n: int) -> bool:
            if (rule := load_rule(path(n), n)) is not None:
                rules[n] = rule
            return rule is not None

        # Of several processes each begins with what takes longest, so that they end together.
        for n in shared(sorted(self.calls, reverse=size() > 1), path, make, whole):
            heard(n, rules[n])
        return {n: rules[n] for n in self.calls}, normal, depends.get(NOISE, 1)

    def _reference(self, folder: Path, depends: Mapping[str, Any]) -> Trajectories:
        """The converged trajectories of all noises, in parts on disk."""
        batch_size = self.settings.batch_size

        def part(rows: slice) -> dict[str, Tensor]:
            cond = None if self.cond is None else self.cond[rows]
            exact = trajectories(
                self.denoiser,
                self.seeds[rows],
                cond,
                self.nodes,
                self.sigma_min,
                self.sigma_max,
                batch_size,
                self.device,
                start=self.start,
            )
            rows_first = exact.states.transpose(0, 1)
            return {"states": rows_first, "levels": exact.levels.expand(len(rows_first), -1)}

        name = "reference" if self.bar else None
        whole = in_parts(folder, depends, len(self.seeds), batch_size, part, name)
        if wrong := not_finite(whole["states"][:, -1]):
            raise DivergedError(
                f"model: {wrong} of {len(self.seeds)} converged images hold values that are not "
                "finite, and no rule can be fitted to them; check the model"
            )
        return Trajectories(whole["levels"][0], whole["states"].transpose(0, 1), self.cond)

    def _rule(self, exact: Trajectories, n: int, normal: Normal) -> Fitted:
        """The rule of ``n`` calls, and the errors of standard solvers beside it."""
        task = self.settings
        # Search and joint fit may end before their budgets: the bar then jumps to its end.
        searched = task.tries * n * min(CHOOSING, task.noises)
        measured = (len(FEW) + 10) * n * task.held_out
        work = (searched + measured + task.budget * n * task.noises) * self.denoiser.cost
        with tqdm(
            total=work, desc=f"{n} calls", unit="eval", unit_scale=True, disable=hidden(self.bar)
        ) as bar:

            def hear(evaluations: int) -> None:
                bar.update(min(evaluations, work - bar.n))

            rule = calibrate(
                self.denoiser, exact, n, task, normal, self.sigma_min, self.device, hear
            )
            hear(work)
        try:
            self.denoiser.check_asked(rule.rule.asked.tolist)
        except InputError as error:  # the rule is that of the others, and the fit is done
            notice(f"NFE {n * self.denoiser.cost}: {error}")
        return rule

    def calibration(
        self,
        rules: Mapping[int, Fitted],
        normal: Normal,
        model: Denoiser,
        conditional: bool,
        facts: Mapping[str, Any],
    ) -> Calibration:
        """All rules as one calibration.

        Args:
            model: what it is for, which a twin of the data may have stood for.
            conditional: whether that is asked with conditions.
        """
        kind, edges = bands_for(self.settings.mode, model.shape, len(normal.variances))
        errors = {
            n: {"start": rule.start_error, "joint": rule.error, "standard": rule.standard}
            for n, rule in rules.items()
        }
        return Calibration(
            model=model.identity,
            conditional=conditional,
            shape=model.shape,
            sigma_max=self.sigma_max,
            normal=normal,
            rules={n: rule.rule for n, rule in rules.items()},
            kind=kind,
            edges=edges,
            facts={**facts, "held_out": errors},
            start=self.start,
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
