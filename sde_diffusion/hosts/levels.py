"""The levels that a pipeline asks a scheduler for: a number of steps, or a list of its own."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch

from sde_diffusion.denoisers.convention import DiscreteTime
from sde_diffusion.errors import InputError
from sde_diffusion.hosts.facts import Facts
from sde_diffusion.process.grids import Explicit, TimeGrid
from sde_diffusion.process.timesteps import FlowShift
from sde_diffusion.solvers.base import StepSolver
from sde_diffusion.system.annotations import shown

NFE = 20
SAME = 1e-5  # of two lists of t, in float32
Numbers = Sequence[float] | None


def asked(
    facts: Facts,
    chosen: TimeGrid | None,
    solver: StepSolver[Any],
    count: int | None,
    timesteps: Numbers = None,
    sigmas: Numbers = None,
    mu: float | None = None,
) -> tuple[TimeGrid, int]:
    """The grid, and the evaluations of ``solver`` on it.

    Args:
        chosen: by whoever made the scheduler. count: evaluations, where no list is given.
        timesteps: labels of the network. sigmas: noise levels, or t in 0 .. 1 of a flow. mu: log of
            the shift of a flow for its resolution. A pipeline of a flow hands sigmas and mu on by
            itself: they give way to a chosen grid. Those of others are the user's.
    """
    count = None if count is None else _count(count)
    key, numbers = ("sigmas", sigmas) if timesteps is None else ("timesteps", timesteps)
    if timesteps is not None and sigmas is not None:
        raise InputError("timesteps: are given beside sigmas; leave one of the two out")
    if chosen is not None:
        if numbers is not None and (timesteps is not None or not facts.flow):
            raise InputError(
                f"{key}: are given, and the scheduler has levels of its own; leave them out, or "
                "make it without a grid, SolverScheduler(solver, None, model)"
            )
        return chosen, count or (NFE if numbers is None else len(numbers))
    if facts.grid is None:
        raise InputError("grid: the model brings none; choose one, SolverScheduler(solver, grid)")
    if facts.flow and isinstance(facts.grid, FlowShift):
        return _of_flow(facts.grid, solver, count, key, numbers, mu)
    if numbers is None:
        return facts.grid, count or NFE
    p = facts.parameterization
    if key == "timesteps":
        if not isinstance(p, DiscreteTime):
            raise InputError("timesteps: the network knows no levels by number; give sigmas")
        k = torch.tensor(_falling(key, numbers), dtype=torch.float64)
        if float(k[0]) > p.table.last:
            raise InputError(f"timesteps={shown(numbers)}: the model's are 0 .. {p.table.last}")
        return _listed(solver, p.table.level(k).tolist(), facts.grid)
    return _listed(solver, _falling(key, numbers), facts.grid)


def _of_flow(
    shifted: FlowShift,
    solver: StepSolver[Any],
    count: int | None,
    key: str,
    numbers: Numbers,
    mu: float | None,
) -> tuple[TimeGrid, int]:
    """A flow's own grid, at the shift and the values t that the pipeline asks for."""
    shift = shifted.shift if mu is None else math.exp(mu)
    if numbers is None:
        grid = shifted if mu is None else FlowShift(shift, shifted.timesteps, shifted.lay_by_size)
        return grid, count or NFE
    t = torch.tensor(_falling(key, numbers), dtype=torch.float64)
    t = t / shifted.timesteps if key == "timesteps" else t
    if not 0 < float(t[-1]) < float(t[0]) <= 1 + SAME:
        raise InputError(f"{key}={shown(numbers)}: those of a flow are t in 0 .. 1; give such")
    even = torch.linspace(1, 1 / len(t), len(t), dtype=torch.float64)
    if bool(((t - even).abs() < SAME).all()):  # what Flux asks for: so many evaluations
        return FlowShift(shift, shifted.timesteps, "even"), len(t)
    t = shift * t.clamp(max=1) / (1 + (shift - 1) * t.clamp(max=1))
    return _listed(solver, (t / (1 - t)).tolist(), shifted)


def _count(steps: Any) -> int:
    """A number of evaluations; InputError for what is none, 0 among it."""
    try:
        count = 0 if isinstance(steps, bool) else operator.index(steps)
    except TypeError:
        count = 0
    if count < 1:
        raise InputError(f"num_inference_steps={shown(repr(steps))}: give a whole number >= 1")
    return count


def _falling(key: str, numbers: Sequence[float]) -> list[float]:
    """The numbers but for a zero at the end of noise levels, where every walk ends."""
    try:
        levels = [float(number) for number in numbers]
    except (TypeError, ValueError):
        raise InputError(f"{key}={shown(numbers)}: give a list of numbers") from None
    if key == "sigmas" and levels and levels[-1] == 0:
        levels = levels[:-1]
    if len(levels) < 2 or not all(a > b >= 0 for a, b in pairwise(levels)):
        raise InputError(
            f"{key}={shown(numbers)}: give two or more numbers, each below the one before"
        )
    return levels


def _listed(solver: StepSolver[Any], levels: list[float], usual: TimeGrid) -> tuple[TimeGrid, int]:
    """A walk through these levels to zero from a start like that of ``usual``, its evaluations."""
    grid = Explicit([*levels, 0.0])
    grid.unit_variance = usual.unit_variance
    steps = len(grid.walked) - 1
    nfe = steps * solver.evaluations - solver.saved
    return grid, nfe + grid.to_zero + grid.from_infinity
