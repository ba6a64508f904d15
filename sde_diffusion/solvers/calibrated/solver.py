"""The calibrated few-step solver: a grid and coefficients that were fitted to one model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sde_diffusion.conditions.condition import LABEL, TEXT, Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.errors import BudgetError, InputError
from sde_diffusion.process.grids import TimeGrid
from sde_diffusion.process.noise import Noise
from sde_diffusion.process.sde import SDE
from sde_diffusion.solvers.base import StepSolver
from sde_diffusion.solvers.calibrated.bands import Bands
from sde_diffusion.solvers.calibrated.file import Calibration
from sde_diffusion.solvers.calibrated.normal import NormalRows
from sde_diffusion.solvers.calibrated.rule import Residuals, Rule
from sde_diffusion.solvers.step import Ask, Step, times_of
from sde_diffusion.system.storage import asset, assets, fingerprint

# What a message calls rules that were read from no file.
IN_MEMORY = "(in memory)"
# Ends the names of the files that are looked through where no path is given.
SHIPPED = "-calibrated"
# How a user gives a part of the condition, where not by its own name.
SAID = {TEXT: "prompt"}


@cache
def shipped() -> dict[str, Calibration]:
    """The calibrations that the package carries, by name."""
    return {name: Calibration.load(asset(name)) for name in assets(SHIPPED)}


class CalibratedGrid(TimeGrid):
    """The noise levels that a calibration chose: the start, then one for each evaluation."""

    def __init__(self, calibration: Calibration) -> None:
        super().__init__(calibration.sigma_min, calibration.sigma_max)
        self.calibration = calibration

    def starting_at(self, level: float) -> TimeGrid:
        raise InputError(
            f"start.level={level:g}: a calibrated rule starts where it was fitted to; choose "
            "another solver, solver=unipc, say"
        )

    def levels(self, n: int) -> Tensor:
        """[n + 1] float64; InputError for a number of evaluations that was not calibrated."""
        rules = self.calibration.rules
        if n not in rules:
            raise BudgetError(
                n,
                "this calibration has no such rule; make one (sde-diffusion calibrate, or "
                "model.calibrate in Python), above 12 take solver=unipc solver.order=3 grid=vptime",
                sorted(rules),
            )
        return torch.cat([torch.tensor([self.sigma_max]).double(), rules[n].levels[1:]])

    def _times(self, sde: SDE, n: int) -> Tensor:
        return sde.time_at(self.levels(n))


def _unknown() -> InputError:
    """What to say where no model has told which rules are meant."""
    return InputError(
        "solver.path: which rules are meant is known with the model alone, as a task or a method "
        f"of a model tells it; name them here, {' or '.join(shipped())}"
    )


class UnknownGrid(TimeGrid):
    """The noise levels of rules that are still to be looked for."""

    def _times(self, sde: SDE, n: int) -> Tensor:
        raise _unknown()


@dataclass(frozen=True)
class CalibratedState:
    """The rule, its law and bands where the batch is, and what it has been answered so far."""

    rule: Rule
    normal: NormalRows
    bands: Bands | None
    seen: Residuals


class Calibrated(StepSolver[CalibratedState]):
    """y_{i+1} = y_i + sum_j (W_ij e_j + V_ij g_j), e_j = (y_j - D(y_j, r_j)) / r_j, y = x / alpha.

    g_j is what the denoiser of a normal law, a mean for each class, has in the place of e_j. W, V,
    the levels r_j at which the network is asked, and the noise level at which it is first asked
    were fitted by ``sde-diffusion calibrate``; above that level the flow is the normal law's. A
    rule serves one number of evaluations, so it has no order. Made for 4 to 12 evaluations: above,
    UniPC-3 on the grid vptime is as good.

    Args:
        path: a calibration file, the name of a shipped one, or a ``Calibration`` in memory, as
            ``Model.calibrate`` makes it; None: the shipped one of the model and its guidance.
        allow_other_model: use it with a model, guidance or condition that it was not made for.
    """

    order = None
    one_step = False

    def __init__(
        self, path: str | Calibration | None = None, allow_other_model: bool = False
    ) -> None:
        self.allow_other_model = allow_other_model
        self._known: Calibration | None = None
        if path is None:
            self.path = ""
        elif isinstance(path, Calibration):
            self.path, self._known = IN_MEMORY, path
        else:
            self.path, self._known = str(path), Calibration.load(asset(str(path)))

    @property
    def calibration(self) -> Calibration:
        """Its rules; InputError as long as they are to be looked for and no model is known."""
        if self._known is None:
            raise _unknown()
        return self._known

    @cached_property
    def own_grid(self) -> CalibratedGrid:
        """The levels of its rules."""
        return CalibratedGrid(self.calibration)

    def fitted(self, denoiser: Denoiser) -> Calibrated:
        if self._known is not None:
            return self
        for name, calibration in shipped().items():
            if calibration.model and calibration.model == denoiser.identity:
                return self.changed(path=name)
        raise InputError(
            "solver=calibrated: no rules are shipped for this model under this guidance; make them "
            "with 'sde-diffusion calibrate' and give solver.path=FILE, or choose solver=unipc"
        )

    @property
    def content(self) -> str:
        if self.path == IN_MEMORY:
            return self.calibration.identity()["calibration"]
        return fingerprint(asset(self.path))

    @property
    def errors(self) -> list[dict[str, Any]]:
        """A row a rule: its error on held-out noises beside that of the best standard solver."""
        return self.calibration.errors

    def save(self, path: str | Path) -> None:
        """Write the rules into a file for ``Calibrated(path)`` and ``solver.path=``."""
        if not str(path):
            raise InputError("path='': give a path")
        self.calibration.save(Path(path))

    @property
    def grid(self) -> TimeGrid:
        return UnknownGrid() if self._known is None else self.own_grid

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.calibration.shape)

    @property
    def _named(self) -> str:
        """What a refusal calls the rules."""
        return "solver" if self.path == IN_MEMORY else f"solver.path={self.path}"

    @property
    def _allowing(self) -> str:
        """How rules are used against what they were made for, typed or of an object."""
        if self.path == IN_MEMORY:
            return "give solver=RULES.changed(allow_other_model=True)"
        return "set solver.allow_other_model=true"

    def check(self, denoiser: Denoiser) -> None:
        rules = self.calibration
        if math.prod(rules.shape) != math.prod(denoiser.shape):
            raise InputError(
                f"{self._named}: made for images of shape {rules.shape}, the model's are "
                f"{denoiser.shape}; calibrate this model"
            )
        if not self.allow_other_model and (not rules.model or rules.model != denoiser.identity):
            raise InputError(
                f"{self._named}: made for model {rules.model or '?'}, this one is "
                f"{denoiser.identity or '?'}; calibrate this one under the guidance it is used "
                f"with, or {self._allowing}"
            )

    def check_condition(self, cond: Condition | None) -> None:
        rules = self.calibration
        if rules.conditional != (cond is not None) and not self.allow_other_model:
            if rules.conditional:
                of_classes = bool(len(rules.normal.labels))
                key = LABEL if of_classes else "label, prompt"
                wish = "label=all, or a class" if of_classes else "label=all, a class, or a prompt"
                remedy = f"was made with {wish}; give that"
            else:
                names = [] if cond is None else [SAID.get(name, name) for name in cond.parts]
                key = ", ".join(names)
                remedy = f"was made with {key}=null; leave {key} out, or set {key}=null"
            raise InputError(f"{key}: {self._named} {remedy}, or {self._allowing}")
        self.calibration.normal.check(cond)

    def steps(self, nfe: int | None) -> int:
        n = super().steps(nfe)
        self.own_grid.levels(n)
        return n

    def init(self, ask: Ask, x: Tensor, steps: Sequence[Step]) -> CalibratedState:
        calibration, n = self.calibration, len(steps)
        levels = self.own_grid.levels(n)
        walked = ask.sde.noise_level(times_of(steps))
        if not torch.allclose(walked, levels, rtol=1e-6, atol=0):
            raise InputError("grid: a calibrated solver walks its own; it predicts for no other")
        bands = None if calibration.bands is None else calibration.bands.to(x)
        return CalibratedState(
            calibration.rules[n], calibration.normal.rows(x, ask.cond), bands, Residuals()
        )

    def step(
        self, ask: Ask, x: Tensor, step: Step, state: CalibratedState, noise: Noise
    ) -> tuple[Tensor, CalibratedState]:
        rule, law = state.rule, state.normal
        i = len(state.seen.residuals)
        y = x / step.a.alpha
        if i == 0:
            y = self.calibration.start * y
            y = law.flow(y, self.calibration.sigma_max, float(rule.levels[0]))
        seen = state.seen + rule.ask(i, y, ask.denoiser, law, ask.cond)
        y = rule.advance(i, y, seen, state.bands)
        return step.b.alpha * y, replace(state, seen=seen)
