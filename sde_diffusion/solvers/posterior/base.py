"""What a posterior solver is: a step that sees the measurement, the denoiser and fresh noise."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Generic, final

import torch
from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.errors import InputError
from sde_diffusion.operators.base import Operator
from sde_diffusion.operators.measurement import Measured, check_measurement
from sde_diffusion.process.noise import Noise
from sde_diffusion.solvers.base import State, StepSolver
from sde_diffusion.solvers.step import Ask, Step
from sde_diffusion.system.names import name_of


class PosteriorSolver(StepSolver[State], Generic[State]):
    """A solver of fixed steps that reads what was measured from the condition.

    It works in y = x / alpha at noise levels r = sigma / alpha, so on any SDE. Rows that keep no
    measurement are drawn from the prior. No order: its law is the method's, at any number of steps.
    """

    order = None
    stochastic = True
    linear = False
    operator: Operator

    @property
    def method(self) -> str:
        """How messages name it."""
        return f"solver={name_of(type(self)).lower()}"

    @property
    def calls(self) -> int:
        """All of a step: in fewer steps the border of what is drawn shows."""
        return self.evaluations

    def check_condition(self, cond: Condition | None) -> None:
        check_measurement(cond, self.method)

    @final
    def measured(self, ask: Ask, x: Tensor) -> Measured:
        """What was measured of the rows of x [N, *shape]."""
        return Measured.read(self.operator, ask.cond, x, self.method)


@dataclass(frozen=True)
class Move:
    """From y = x / alpha at noise level r to r_s, with all that one evaluation gives.

    Attributes:
        y: [N, *shape] at level r. denoised: D(y, r). z: standard normals, zeros in the last step.
    """

    y: Tensor
    denoised: Tensor
    r: float
    r_s: float
    z: Tensor

    def ancestral(self, eta: float = 1.0, x_0: Tensor | None = None) -> tuple[Tensor, float]:
        """Mean at r_s and its deviation tau: DDIM(eta) about x_0, or about D (arXiv:2010.02502).

        tau = eta r_s / r sqrt(r^2 - r_s^2), mean = x_0 + sqrt(r_s^2 - tau^2) / r (y - x_0).
        """
        tau = eta * self.r_s * max(0.0, 1 - (self.r_s / self.r) ** 2) ** 0.5
        x_0 = self.denoised if x_0 is None else x_0
        return x_0 + max(0.0, self.r_s**2 - tau**2) ** 0.5 / self.r * (self.y - x_0), tau


class OneCall(PosteriorSolver[None]):
    """A posterior solver of one evaluation a step: write ``move``. Its last step adds no noise."""

    @final
    def step(
        self, ask: Ask, x: Tensor, step: Step, state: None, noise: Noise
    ) -> tuple[Tensor, None]:
        a, b = step.a, step.b
        y, denoised = x / a.alpha, ask.denoise(x, a)
        z = torch.zeros_like(x) if step.last else noise.normal(a.t, b.t)
        move = Move(y, denoised, a.noise_level, b.noise_level, z)
        return b.alpha * self.move(self.measured(ask, x), move), None

    @abstractmethod
    def move(self, measured: Measured, move: Move) -> Tensor:
        """y at level r_s [N, *shape]."""


def within(name: str, value: float, low: float, high: float) -> float:
    """``value``; InputError unless low <= value <= high."""
    if not low <= value <= high:
        raise InputError(f"solver.{name}={value}: give {low:g} <= {name} <= {high:g}")
    return value
