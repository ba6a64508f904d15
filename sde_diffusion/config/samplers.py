"""Samplers by the names that other programs have for them: a solver here, its fields and a grid.

A name is that of a method, and after it, if one likes, that of a schedule: ``DPM++ 2M Karras``,
``dpmpp_2m karras``, ``sample_dpmpp_2m``, ``DPMSolverMultistepScheduler use_karras_sigmas``. Upper
and lower case, spaces and signs make no difference, and ``++`` is ``pp``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from sde_diffusion.config import groups, yaml_files
from sde_diffusion.errors import InputError
from sde_diffusion.system.annotations import shown

PROGRAMS = ("webui", "comfyui", "k_diffusion", "diffusers")


@dataclass(frozen=True)
class NamedPart:
    """A solver or a grid here, and what it is called elsewhere.

    Attributes:
        choice, fields: of the group; no choice of a grid: that of the model, or else of the solver.
        names: by program; the first one there is names it here.
        differs: what is not the same; empty where trajectories are equal.
        gap: how much, where that is a number: see the table's head.
    """

    choice: str | None
    fields: Mapping[str, Any]
    names: Mapping[str, Sequence[str]]
    differs: str
    gap: float | None

    @classmethod
    def of(cls, entry: Mapping[str, Any], group: str) -> NamedPart:
        """An entry of the table."""
        names = {program: entry.get(program, ()) for program in PROGRAMS}
        fields, differs = entry.get("fields", {}), entry.get("differs", "")
        return cls(entry[group], fields, names, differs, entry.get("gap"))

    @property
    def all_names(self) -> list[str]:
        return [name for names in self.names.values() for name in names]

    @property
    def name(self) -> str:
        return self.all_names[0]


class Preset(NamedTuple):
    """What a name stands for."""

    method: NamedPart
    schedule: NamedPart

    @property
    def name(self) -> str:
        """As it is called first: ``DPM++ 2M Karras``."""
        scheduled = "" if self.schedule.choice is None else self.schedule.name
        return f"{self.method.name} {scheduled}".strip()


@cache
def table() -> tuple[list[NamedPart], list[NamedPart], dict[str, str]]:
    """Methods, schedules, and names that are none of ours with what is nearest."""
    content = yaml_files.load(Path(__file__).with_suffix(".yaml"))
    methods, schedules = (
        [NamedPart.of(entry, group) for entry in content[key]]
        for key, group in (("methods", "solver"), ("schedules", "grid"))
    )
    return methods, schedules, content["strangers"]


def find(name: str, key: str = "sampler") -> Preset:
    """What ``name`` stands for; InputError, with what is nearest, for one that is none of ours."""
    spelt = _spelt(name)
    if (preset := _presets().get(spelt)) is not None:
        return preset
    for stranger, reason in table()[2].items():
        prefix = _spelt(stranger)
        if spelt.startswith(prefix) and spelt.removeprefix(prefix) in _schedules():
            raise InputError(f"{key}={shown(name)}: not here: {reason}")
    if near := get_close_matches(spelt, _presets(), n=1):
        raise InputError(
            f"{key}={shown(name)}: no such sampler; did you mean '{_presets()[near[0]].name}'?"
        )
    methods, schedules, _ = table()
    raise InputError(
        f"{key}={shown(name)}: no such sampler; they are "
        f"{', '.join(each.name for each in methods)}, each with a schedule after it, if you like: "
        f"{', '.join(each.name for each in schedules[1:])}"
    )


def known(name: Any) -> bool:
    """Whether it is the name of a sampler, or nearly so, and of no solver."""
    if not isinstance(name, str) or name in groups.names("solver"):
        return False
    spelt = _spelt(name)
    if spelt in _presets():
        return True
    near = get_close_matches(spelt, {*_presets(), *map(_spelt, table()[2])}, n=1, cutoff=0.9)
    return bool(near) and not get_close_matches(name, groups.names("solver"), n=1)


def label(name: str) -> str:
    """A name as a label of results: ``DPM++-2M-Karras``."""
    return re.sub(r"[^\w.+-]+", "-", name.strip())


class Chosen(NamedTuple):
    """A solver and a grid, by name with fields, or as they were given."""

    solver: Any
    solver_fields: Mapping[str, Any]
    grid: Any
    grid_fields: Mapping[str, Any]

    @property
    def resolvable_solver(self) -> Any:
        """As ``groups.resolve`` takes it."""
        return {self.solver: self.solver_fields} if self.solver_fields else self.solver

    @property
    def resolvable_grid(self) -> Any:
        """As ``groups.resolve`` takes it; None where none was chosen."""
        return {self.grid: self.grid_fields} if self.grid_fields else self.grid


def chosen(solver: Any, grid: Any, sampler: Any) -> Chosen:
    """What was given, or what one word says of both; InputError where both were."""
    if sampler is None and not known(solver):
        return Chosen(solver, {}, grid, {})
    if sampler is not None and solver is not None:
        raise twice("solver", solver, sampler)
    word = solver if sampler is None else sampler
    if not isinstance(word, str):
        raise InputError(f"sampler={shown(word)}: give a name, 'DPM++ 2M Karras', say")
    method, schedule = find(word)
    if schedule.choice is None:
        return Chosen(method.choice, method.fields, grid, {})
    if grid is not None:
        raise twice("grid", grid, word)
    return Chosen(method.choice, method.fields, schedule.choice, schedule.fields)


def twice(key: str, value: Any, sampler: Any) -> InputError:
    """The refusal of what a sampler's name says already."""
    return InputError(
        f"{key}={shown(value)}: sampler={shown(sampler)} chooses it; leave one of the two out"
    )


def _spelt(name: str) -> str:
    """A name without what makes no difference."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower().replace("++", "pp"))
    return plain.removeprefix("sample").replace("scheduler", "").removesuffix("true")


@cache
def _schedules() -> dict[str, NamedPart]:
    """Schedules by the spelling of each name, and of none."""
    listed = table()[1]
    return {"": listed[0]} | {_spelt(name): each for each in listed for name in each.all_names}


@cache
def _presets() -> dict[str, Preset]:
    """By every spelling."""
    return {
        _spelt(name) + ending: Preset(method, schedule)
        for method in table()[0]
        for name in method.all_names
        for ending, schedule in _schedules().items()
    }
