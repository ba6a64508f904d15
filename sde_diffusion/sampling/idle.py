"""What was chosen of a sampler and has no effect beside the rest of it, so that nobody believes it
had: found by rehearsals, which ask no network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from sde_diffusion.config import groups
from sde_diffusion.errors import InputError
from sde_diffusion.process.grids import TimeGrid
from sde_diffusion.process.noise import NoiseSource, Seeds
from sde_diffusion.solvers.base import Solver
from sde_diffusion.system.identity import defaults
from sde_diffusion.system.names import name_of

PLAIN = (bool, int, float, str)
Drawn = Callable[[Solver, NoiseSource], Tensor]


def idle(solver: Solver, noise: NoiseSource, drawn: Drawn) -> Iterator[str]:
    """A line for each plain field of a solver, and for a source of noise, that is not the usual one
    and with which the same is drawn as with that.

    Args:
        drawn: what a solver draws with a source of noise; InputError where it cannot.
    """
    first: Tensor | None = None

    def same(other: Solver, source: NoiseSource) -> bool:
        nonlocal first
        try:
            first = drawn(solver, noise) if first is None else first
            return torch.equal(first, drawn(other, source))
        except InputError:  # the usual value takes another budget, say
            return False

    for key, value, usual, other in _usual(solver):
        if same(other, noise):
            yield f"solver.{key}={value}: has no effect here; solver.{key}={usual} draws the same"
    if not isinstance(noise, Seeds) and same(solver, Seeds()):
        solver_name = groups.typed("solver", name_of(type(solver)))
        yield (
            f"noise={groups.typed('noise', name_of(type(noise)))}: has no effect, "
            f"{solver_name} draws no noise of its steps from it"
        )


def _usual(solver: Solver) -> Iterator[tuple[str, Any, Any, Solver]]:
    """Of each plain field that is not the usual one: its key, both values, and the solver with the
    usual one; those of solvers that it is made of too."""
    usual = defaults(type(solver))
    for name, value in solver.fields().items():
        if isinstance(value, Solver):
            for key, setting, default, part in _usual(value):
                yield f"{name}.{key}", setting, default, solver.changed(**{name: part})
        elif isinstance(value, PLAIN) and name in usual and value != usual[name]:
            try:
                yield name, value, usual[name], solver.changed(**{name: usual[name]})
            except InputError:  # the usual value does not go with the others
                continue


def idle_grid(solver: Solver, grid: TimeGrid, brought: TimeGrid | None) -> str | None:
    """A line for a grid whose times between its ends a solver of its own steps does not take."""
    if not solver.adaptive or grid is brought:
        return None
    if (name := groups.named("solver", solver)) is None:
        return None
    usual = groups.resolve("grid", groups.brings("solver", name)["grid"])
    ends = {"sigma_min", "sigma_max"}
    inner = [{k: v for k, v in each.fields().items() if k not in ends} for each in (grid, usual)]
    if type(grid) is type(usual) and inner[0] == inner[1]:
        return None
    called = groups.typed("grid", name_of(type(grid)))
    return f"grid={called}: {name} takes its own steps, and of a grid the ends alone"
