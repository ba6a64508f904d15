"""Restart sampling: intervals of noise levels are gone through again, from fresh noise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, Any

import torch
from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.errors import InputError
from sde_diffusion.process.grids import Rho, power_spaced
from sde_diffusion.process.noise import Noise
from sde_diffusion.process.sde import Marginal
from sde_diffusion.solvers.base import StepSolver, linear
from sde_diffusion.solvers.step import Ask, Step, times_of
from sde_diffusion.system.ranges import Within

# What a noise level may lose on its way to a time and back.
ROUNDING = 1e-9


@dataclass(frozen=True)
class RestartInterval:
    """Noise levels low .. high, gone through ``repeats`` more times in ``steps`` steps each."""

    low: float
    high: float
    steps: int
    repeats: int


@dataclass(frozen=True)
class Piece:
    """An interval on a grid: its times from ``high`` down to a time of the grid."""

    times: Tensor
    repeats: int


@dataclass(frozen=True)
class RestartState:
    """The inner solver's state, the steps to be taken, and the pieces by the step they follow."""

    inner: Any
    steps: Sequence[Step]
    pieces: Mapping[int, Piece]


class Restart(StepSolver[RestartState]):
    """The inner solver, and after its step to r_l, ``repeats`` times over: with y = x / alpha,

    y <- y + s_noise sqrt(high^2 - r_l^2) z, then the inner solver from high to r_l

    in ``steps`` steps, uniform in r^(1/rho), r = sigma / alpha (Restart, arXiv:2306.14878,
    algorithm 1). z is fresh each time. r_l is the first level of the grid at or below ``low``, so
    that any grid and any number of steps has it; two intervals with one r_l are refused. The inner
    solver begins anew after each jump and after the last repeat. A trajectory shows the state that
    goes on. nfe counts it all: n steps of the grid cost n inner steps and those of every repeat.

    No order is declared: the error of the repeats stays as n grows. It falls at the inner solver's
    order if ``steps`` grow with n.

    Args:
        inner: a deterministic solver of fixed steps.
        low, high, steps, repeats: one value an interval; intervals may touch but not overlap.
        s_noise: standard deviation of z.
        rho: of the steps between high and r_l.
    """

    papers: tuple[str, ...] = ("2306.14878",)

    one_step = False

    def __init__(
        self,
        inner: StepSolver[Any],
        low: Annotated[Sequence[float], Within("1e-9 <= low < high")] = (0.06,),
        high: Annotated[Sequence[float], Within("high <= 1e9")] = (0.3,),
        steps: Annotated[Sequence[int], Within("1 <= steps <= 10000")] = (2,),
        repeats: Annotated[Sequence[int], Within("0 <= repeats <= 1000")] = (2,),
        s_noise: Annotated[float, Within("0 < s_noise <= 10")] = 1.0,
        rho: Rho = 7.0,
    ) -> None:
        name = type(inner).__name__
        if inner.stochastic or inner.adaptive:
            raise InputError(
                f"solver.inner={name}: a restart adds the noise itself; choose a deterministic "
                "solver of fixed steps, such as heun or ddim (eta=0, s_churn=0)"
            )
        if not len(low) == len(high) == len(steps) == len(repeats):
            raise InputError(
                f"solver.low={list(low)}: low, high, steps and repeats differ in length; "
                "give each one value an interval"
            )
        self.inner, self.s_noise, self.rho = inner, s_noise, rho
        self.papers = (*self.papers, *inner.papers)
        rows = zip(low, high, steps, repeats, strict=True)
        self.intervals = checked([RestartInterval(*row) for row in rows])
        self.evaluations, self.linear = inner.evaluations, inner.linear
        self.asks_empty = inner.asks_empty
        self.couples_batch, self.covariant = inner.couples_batch, inner.covariant
        self.stochastic = any(interval.repeats > 0 for interval in self.intervals)
        self.order = None if self.stochastic else inner.order
        self.saved = inner.saved - sum(
            part.repeats * (part.steps * inner.evaluations - inner.saved) for part in self.intervals
        )

    def check(self, denoiser: Denoiser) -> None:
        self.inner.check(denoiser)

    def check_condition(self, cond: Condition | None) -> None:
        self.inner.check_condition(cond)

    def init(self, ask: Ask, x: Tensor, steps: Sequence[Step]) -> RestartState:
        sde, times = ask.sde, times_of(steps)
        levels = sde.noise_level(times)
        first, last = float(levels[0]), float(levels[-1])
        pieces: dict[int, Piece] = {}
        for interval in (part for part in self.intervals if part.repeats > 0):
            low, high = interval.low, interval.high
            index = int((levels > low * (1 + ROUNDING)).sum())
            if index == 0 or low < last * (1 - ROUNDING) or high > first * (1 + ROUNDING):
                raise InputError(
                    f"solver.low={low}, high={high}: beyond the grid, which has {last:.4g} .. "
                    f"{first:.4g}; move one or the other"
                )
            before = steps[index - 1].i
            if before in pieces:
                raise InputError(
                    f"solver.low={low}: {len(steps)} steps have one level for two restarts; "
                    "give a larger nfe, or one interval in place of two"
                )
            unit = torch.linspace(0, 1, interval.steps + 1, dtype=torch.float64)
            top = torch.full_like(levels[0], high)
            piece = sde.time_at(power_spaced(top, levels[index], unit, self.rho))
            piece[-1] = times[index]
            pieces[before] = Piece(piece, interval.repeats)
        return RestartState(self.inner.init(ask, x, steps), steps, pieces)

    def step(
        self, ask: Ask, x: Tensor, step: Step, state: RestartState, noise: Noise
    ) -> tuple[Tensor, RestartState]:
        x, inner = self.inner.step(ask, x, step, state.inner, noise)
        piece = state.pieces.get(step.i)
        if piece is not None:
            high = ask.at(float(piece.times[0]))
            for _ in range(piece.repeats):
                x = self._jump(x, step.b, high, noise)
                x = self.inner.solve(ask, x, piece.times, noise)
            if not step.last:
                inner = self.inner.init(ask, x, [rest for rest in state.steps if rest.i > step.i])
        return x, replace(state, inner=inner)

    def _jump(self, x: Tensor, a: Marginal, b: Marginal, noise: Noise) -> Tensor:
        """Forward from a up to b, by noise that belongs to no step of the grid."""
        added = math.sqrt(b.noise_level**2 - a.noise_level**2)
        return linear((b.alpha / a.alpha, x), (b.alpha * self.s_noise * added, noise.fresh()))


def checked(intervals: Sequence[RestartInterval]) -> list[RestartInterval]:
    """From the highest to the lowest; InputError if two overlap."""
    ordered = sorted(intervals, key=lambda part: part.low, reverse=True)
    for upper, lower in pairwise(ordered):
        if lower.high > upper.low:
            raise InputError(
                f"solver.high={lower.high}: {lower.low} .. {lower.high} and {upper.low} .. "
                f"{upper.high} overlap; move them apart"
            )
    return ordered
