"""Choices on the command line: one of a few words, or a list of components with labels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sde_diffusion.config import groups
from sde_diffusion.errors import InputError
from sde_diffusion.system.identity import Component

LABEL = re.compile(r"[\w.+-]{1,60}")
MOST_SEEDS = 10_000_000


def choice(key: str, value: str, allowed: Iterable[str]) -> str:
    """``value``, refused unless it is one of ``allowed``."""
    if value not in allowed:
        raise InputError(f"{key}={value}: choose one of {sorted(allowed)}")
    return value


def seed_list(seeds: Any, n: int | None) -> list[int]:
    """``0-63``, ``5``, or a list of whole numbers; null means 0 .. n - 1, n being 64 if it is null.

    InputError for anything else, and for more than ``MOST_SEEDS``.
    """
    if n is not None and not 1 <= n <= MOST_SEEDS:
        raise InputError(f"n={n}: give a number of images from 1 to {MOST_SEEDS}")
    if seeds is None:
        return list(range(64 if n is None else n))
    span = re.fullmatch(r"(\d{1,20})(?:-(\d{1,20}))?", seeds) if isinstance(seeds, str) else None
    if span is not None:
        low, high = int(span[1]), int(span[2] or span[1])
        if high - low >= MOST_SEEDS:
            raise InputError(f"seeds={seeds}: give at most {MOST_SEEDS} in one command")
        numbers = list(range(low, high + 1))
    else:
        numbers = list(seeds) if isinstance(seeds, list) else [seeds]
    if any(type(seed) is not int for seed in numbers):
        raise InputError(f"seeds={seeds}: give 0-63, or a list of whole numbers, [3,14,15]")
    if not numbers or min(numbers) < 0:
        raise InputError(f"seeds={seeds}: give at least one seed, none negative")
    if n is not None and n != len(numbers):
        raise InputError(f"n={n}: seeds={seeds} are {len(numbers)}; leave one of the two out")
    return numbers


@dataclass(frozen=True)
class Choice:
    """One entry of a list.

    Attributes:
        label: what a result calls it. group, name, fields: what it is.
        grid: the name of the grid that was asked for with it; None: that of its yaml.
        given: the object itself, if one was given.
    """

    label: str
    group: str
    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    grid: str | None = None
    given: Component | None = None

    def component(self) -> Any:
        """The object."""
        if self.given is not None:
            return self.given
        return groups.resolve(self.group, {self.name: self.fields})

    def default_grid(self) -> str | None:
        """The name of the grid that goes with it."""
        return self.grid or groups.brings(self.group, self.name).get("grid")

    def words(self) -> list[str]:
        """What chooses it on the command line."""
        grid = [] if self.grid is None else [f"grid={self.grid}"]
        fields = [f"{self.group}.{name}={_word(v)}" for name, v in self.fields.items()]
        return [f"{self.group}={self.name}", *grid, *fields]


def entries(choices: Sequence[Any], group: str) -> Iterator[Choice]:
    """Each entry: a name of ``group``, {LABEL: {group: NAME, FIELD: VALUE}}, or an object."""
    seen: set[str] = set()
    for entry in choices:
        for label, given in _labelled(entry, group).items():
            if label in seen:
                raise InputError(f"{group}s: {label} twice; give each entry a label of its own")
            if not LABEL.fullmatch(str(label)):
                # It names files, and must stay within its folder and a line of text.
                raise InputError(f"{group}s: label {label!r}; use letters, digits and _ . + -")
            seen.add(label)
            yield _choice(label, given, group)


def _labelled(entry: Any, group: str) -> Mapping[str, Any]:
    if isinstance(entry, Mapping):
        return entry
    if isinstance(entry, str):
        return {entry: {}}
    if isinstance(entry, Component):
        return {groups.choice_of(group, entry): entry}
    raise InputError(f"{group}s: {entry}: give a name, or {{LABEL: {{{group}: NAME, KEY: VALUE}}}}")


def _choice(label: str, given: Any, group: str) -> Choice:
    if isinstance(given, Component):
        return Choice(label, group, groups.choice_of(group, given), given.fields(), given=given)
    if given is not None and not isinstance(given, Mapping):
        raise InputError(f"{group}s: {label}: {given}: give {{{group}: NAME, KEY: VALUE}}")
    fields = dict(given or {})
    name = str(fields.pop(group, label))
    grid = str(fields.pop("grid")) if group != "grid" and "grid" in fields else None
    return Choice(label, group, name, fields, grid)


def _word(value: Any) -> str:
    """A value as it is typed: [A,B] for a list, null for None."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_word, value))}]"
    return "null" if value is None else str(value).lower() if type(value) is bool else str(value)
