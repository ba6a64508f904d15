"""Predictor-corrector sampling over any two solvers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.errors import InputError
from sde_diffusion.process.grids import TimeGrid
from sde_diffusion.process.noise import Noise
from sde_diffusion.solvers.base import Corrector, StepSolver
from sde_diffusion.solvers.step import Ask, Step


class PredictorCorrector(StepSolver[Any]):
    """At each time the corrector at t, then the predictor from t to s (arXiv:2011.13456, alg. 1).

    The published code's sequence; its last state is the predictor's mean. A corrector's chain has
    a law of its own at any number of steps, so no order is declared.

    Args:
        predictor: any solver of fixed steps.
        corrector: a solver whose move stays at one level.
    """

    papers = ("2011.13456",)
    order = None
    stochastic = True

    def __init__(self, predictor: StepSolver[Any], corrector: Corrector) -> None:
        if predictor.adaptive or predictor.stays:
            raise InputError(
                f"solver.predictor={type(predictor).__name__}: give a solver of fixed steps, such "
                "as ReverseDiffusion; one that stays at its level goes to solver.corrector"
            )
        if corrector.adaptive or not corrector.stays:
            raise InputError(
                f"solver.corrector={type(corrector).__name__}: give a solver whose move stays at "
                "one noise level, such as Langevin; one that steps goes to solver.predictor"
            )
        self.predictor = predictor
        self.corrector = corrector
        self.evaluations = predictor.evaluations + corrector.evaluations
        self.saved = predictor.saved
        self.one_step = predictor.one_step
        self.linear = predictor.linear and corrector.linear
        self.couples_batch = predictor.couples_batch or corrector.couples_batch
        self.covariant = predictor.covariant and corrector.covariant

    @property
    def grid(self) -> TimeGrid | None:
        return self.predictor.grid

    @property
    def shape(self) -> tuple[int, ...] | None:
        return self.predictor.shape

    @property
    def content(self) -> str:
        return self.predictor.content

    def check(self, denoiser: Denoiser) -> None:
        self.predictor.check(denoiser)

    def check_condition(self, cond: Condition | None) -> None:
        self.predictor.check_condition(cond)

    def init(self, ask: Ask, x: Tensor, steps: Sequence[Step]) -> Any:
        return self.predictor.init(ask, x, steps)

    def step(self, ask: Ask, x: Tensor, step: Step, state: Any, noise: Noise) -> tuple[Tensor, Any]:
        x = self.corrector.correct(ask, x, step, noise)
        return self.predictor.step(ask, x, step, state, noise)
