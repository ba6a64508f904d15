"""Solvers on grids, and the words that choose them on the command line."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sde_diffusion.config import groups
from sde_diffusion.config.choices import Choice, entries
from sde_diffusion.config.schema import MISSING
from sde_diffusion.errors import InputError
from sde_diffusion.process.grids import TimeGrid
from sde_diffusion.process.sde import SDE
from sde_diffusion.process.spectrum import DataSpectrum
from sde_diffusion.solvers.base import Solver

DEFAULT = "default"  # the grid that a solver's yaml names
USUAL_SDE = "edm"  # of the task sample


@dataclass(frozen=True)
class Pair:
    """A solver on a grid, and the words that choose them on the command line, if any can."""

    solver_label: str
    grid_label: str
    solver: Solver
    grid: TimeGrid
    words: list[str] | None

    def on(self, spectrum: DataSpectrum, file: Path | None) -> Pair:
        """A searched grid that names no spectrum takes this one, from its file if it has one."""
        if self.grid.fields().get("spectrum", "") is not None:
            return self
        if file is None:
            return replace(self, grid=self.grid.changed(spectrum=spectrum), words=None)
        name = os.path.relpath(file)
        words = None if self.words is None else [*self.words, f"grid.spectrum={name}"]
        return replace(self, grid=self.grid.changed(spectrum=name), words=words)


def pairs(
    sde: SDE, solvers: Sequence[Any], grids: Sequence[Any], ends: Mapping[str, float]
) -> list[Pair]:
    """Every solver on every grid between the noise levels ``ends``; InputError for what has no
    exact error."""
    process = sde_words(sde)
    asked = [_complete(entry) for entry in entries(grids, "grid")]
    chosen = []
    for entry in entries(solvers, "solver"):
        solver = _known(entry.label, entry.component())
        if entry.nfe is not None:
            raise InputError(f"solvers: {entry.label}: nfe: all share it here; give nfe alone")
        for choice in asked:
            default = choice.label == DEFAULT
            grid, moved = _between(_default(entry) if default else choice, ends)
            words = [replace(entry, grid=None).words(), choice.words()]
            typed = _joined(process, *([entry.words()] if default else words), moved)
            chosen.append(Pair(entry.label, choice.label, solver, grid, typed))
    return chosen


def _default(entry: Choice) -> Choice:
    """The grid that goes with a solver."""
    grid = entry.default_grid()
    if grid is None:
        raise InputError(f"grids: {entry.label} names no default grid; leave 'default' out")
    return next(entries([grid], "grid"))


def _joined(*words: list[str] | None) -> list[str] | None:
    """All of them; None if nothing can be typed for one of them."""
    typed = [part for part in words if part is not None]
    return [word for part in typed for word in part] if len(typed) == len(words) else None


def _complete(grid: Choice) -> Choice:
    """Itself; InputError for a grid that lacks a field which only a user can give."""
    if grid.label != DEFAULT and grid.given is None and grid.name is not None:
        stated = {**groups.node("grid", grid.name), **grid.fields}
        missing = [key for key, value in stated.items() if value == MISSING]
        if missing:
            raise InputError(
                f"grids: {grid.label} needs {', '.join(missing)}; give {{LABEL: {{grid: "
                f"{grid.name}, {missing[0]}: VALUE}}}}"
            )
    return grid


def _known(label: str, solver: Solver) -> Solver:
    """Itself; InputError unless its error on a Gaussian is known exactly."""
    if solver.grid is not None:
        raise InputError(
            f"solvers: {label} was fitted to one network; a Gaussian says nothing of it: leave "
            "it out, or use 'compare'"
        )
    if not solver.linear:
        raise InputError(
            f"solvers: {label} is no linear map (norms of the state, or error control): its "
            "error is not known exactly; leave it out, or use 'compare'"
        )
    return solver


def _between(choice: Choice, ends: Mapping[str, float]) -> tuple[TimeGrid, list[str]]:
    """A grid between these noise levels, and the words that say so where it has others."""
    grid: TimeGrid = choice.component()
    stated = grid.fields()
    taken = {key: level for key, level in ends.items() if key in stated}
    words = [f"grid.{key}={level:g}" for key, level in taken.items() if stated[key] != level]
    return grid.changed(**taken), words


def sde_words(sde: SDE) -> list[str]:
    """The words that choose a process in ``sample``, whose own they leave out."""
    try:
        name = groups.choice_of("sde", sde)
    except InputError:  # of another package, without a yaml
        return [f"++sde.{key}={value}" for key, value in sde.fields().items()]
    usual: SDE = groups.make("sde", name)
    others = [f"sde.{k}={v}" for k, v in sde.fields().items() if usual.fields()[k] != v]
    return [f"sde={name}", *others] if name != USUAL_SDE or others else []
