"""Ancestral sampling over any solver of one step: below the end by the flow, and up by noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.errors import InputError
from sde_diffusion.process.noise import Noise
from sde_diffusion.solvers.base import StepSolver, linear
from sde_diffusion.solvers.step import Ask, Step
from sde_diffusion.system.ranges import Within


class Renoise(StepSolver[Any]):
    """The inner solver from r_t to r_d, then y_s = y_d + u z; y = x / alpha, r = sigma / alpha.

    u = eta r_s / r_t sqrt(r_t^2 - r_s^2), r_d^2 = r_s^2 - u^2 (k-diffusion's ancestral solvers;
    over DDIM it is the ancestral step of arXiv:2010.02502). Flow and noise each take the process's
    law at one level to that at the other, so the weak order is the inner solver's. Nothing is asked
    below the last level of the grid: r_d stays at or above it, and the last step is the flow's.

    Args:
        inner: a deterministic solver without memory of earlier steps.
        eta: 0 <= eta <= 1.
    """

    papers: tuple[str, ...] = ("2010.02502",)

    def __init__(
        self, inner: StepSolver[Any], eta: Annotated[float, Within("0 <= eta <= 1")] = 1.0
    ) -> None:
        if inner.stochastic or inner.adaptive or not inner.one_step:
            raise InputError(
                f"solver.inner={type(inner).__name__}: give a deterministic solver of fixed steps "
                "that remembers none, such as dpmpp_2s, dpm2, heun or ddim"
            )
        self.inner, self.eta = inner, eta
        self.papers = (*self.papers, *inner.papers)
        self.stochastic = eta > 0
        self.order, self.evaluations, self.saved = inner.order, inner.evaluations, inner.saved
        self.linear, self.covariant = inner.linear, inner.covariant
        self.asks_empty = inner.asks_empty
        self.couples_batch = inner.couples_batch

    def check(self, denoiser: Denoiser) -> None:
        self.inner.check(denoiser)

    def check_condition(self, cond: Condition | None) -> None:
        self.inner.check_condition(cond)

    def init(self, ask: Ask, x: Tensor, steps: Sequence[Step]) -> tuple[Any, float]:
        return self.inner.init(ask, x, steps), steps[-1].b.noise_level

    def step(
        self, ask: Ask, x: Tensor, step: Step, state: tuple[Any, float], noise: Noise
    ) -> tuple[Tensor, tuple[Any, float]]:
        inner, lowest = state
        a, b = step.a, step.b
        added = self.eta * b.noise_level / a.noise_level
        added *= math.sqrt(a.noise_level**2 - b.noise_level**2)
        down = max(lowest, math.sqrt(b.noise_level**2 - added**2))
        if step.last or self.eta == 0:
            x_s, inner = self.inner.step(ask, x, step, inner, noise)
            return x_s, (inner, lowest)
        d = ask.at_level(down)
        x_d, inner = self.inner.step(ask, x, replace(step, b=d), inner, noise)
        up = math.sqrt(b.noise_level**2 - down**2)
        x_s = linear((b.alpha / d.alpha, x_d), (b.alpha * up, noise.normal(a.t, b.t)))
        return x_s, (inner, lowest)
