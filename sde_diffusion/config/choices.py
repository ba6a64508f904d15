"""Choices on the command line: one of a few words, or a list of components with labels."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sde_diffusion.config import groups, samplers
from sde_diffusion.config.schema import converted
from sde_diffusion.errors import InputError
from sde_diffusion.system.annotations import shown
from sde_diffusion.system.identity import Component, identity
from sde_diffusion.system.spelling import none_of

LABEL = re.compile(r"[\w.+-]{1,60}")
MOST_SEEDS = 10_000_000
SOLVER = "solver"
# The method of an edit of which nothing says how, where known pixels are known without noise.
INPAINTING = "repaint"
# Values that can be typed: no component, no content in memory.
PLAIN = (str, int, float, list, tuple, type(None))


def choice(key: str, value: str, allowed: Iterable[str]) -> str:
    """``value``, refused unless it is one of ``allowed``."""
    if value not in allowed:
        raise none_of(key, value, sorted(allowed))
    return value


def seed_list(seeds: Any, n: int | None) -> list[int]:
    """``0-63``, ``5``, or a list of both; null means 0 .. n - 1, n being 64 if it is null.

    InputError for anything else, and for more than ``MOST_SEEDS``.
    """
    if n is not None and not 1 <= n <= MOST_SEEDS:
        raise InputError(f"n={n}: give a number of images from 1 to {MOST_SEEDS}")
    if seeds is None:
        return list(range(64 if n is None else n))
    listed = seeds if isinstance(seeds, list) else [seeds]
    if listed is seeds and any(isinstance(each, str) and "-" not in each for each in listed):
        listed = [None]  # a number in quotes, which is a text
    spans = [_span(each, seeds) for each in listed]
    if sum(map(len, spans)) > MOST_SEEDS:
        raise InputError(f"seeds={seeds}: give at most {MOST_SEEDS} in one command")
    numbers = [seed for span in spans for seed in span]
    if not numbers or min(numbers) < 0 or not all(spans):
        raise InputError(f"seeds={seeds}: give at least one seed, none negative")
    if n is not None and n != len(numbers):
        raise InputError(f"n={n}: seeds={seeds} are {len(numbers)}; leave one of the two out")
    return numbers


def _span(each: Any, seeds: Any) -> Sequence[int]:
    """The seeds of ``5`` or of ``0-63``, an entry of ``seeds``."""
    if type(each) is int:
        return [each]
    span = re.fullmatch(r"(\d{1,20})(?:-(\d{1,20}))?", each) if isinstance(each, str) else None
    if span is None:
        raise InputError(f"seeds={seeds}: give 0-63, or a list of whole numbers, [3,14,15]")
    low, high = int(span[1]), int(span[2] or span[1])
    if high - low >= MOST_SEEDS:  # of which the length is not asked: it may be beyond len()
        raise InputError(f"seeds={seeds}: give at most {MOST_SEEDS} in one command")
    return range(low, high + 1)


@dataclass(frozen=True)
class Choice:
    """One entry of a list.

    Attributes:
        label: what a result calls it. group, name, fields: what it is; name None of an object that
            no yaml names.
        grid: what was asked for with it, a name, {name: fields} or an object; None: that of its
            yaml. nfe: numbers of evaluations of its own.
        given: the object itself, if one was given.
    """

    label: str
    group: str
    name: str | None
    fields: Mapping[str, Any] = field(default_factory=dict)
    grid: Any = None
    nfe: tuple[int, ...] | None = None
    given: Component | None = None

    def component(self) -> Any:
        """The object."""
        if self.given is not None:
            return self.given
        return groups.resolve(self.group, {self.name: self.fields})

    def default_grid(self) -> Any:
        """What goes with it: the grid asked for, or the name of that of its yaml, or None."""
        if self.grid is not None or self.name is None:
            return self.grid
        return groups.brings(self.group, self.name).get("grid")

    def words(self) -> list[str] | None:
        """What chooses it on the command line; None where nothing can."""
        grid = [] if self.grid is None else next(entries([self.grid], "grid")).words()
        typed = all(isinstance(value, PLAIN) for value in self.fields.values())
        if self.name is None or grid is None or not typed:
            return None
        fields = [f"{self.group}.{name}={_word(v)}" for name, v in self.fields.items()]
        return [f"{self.group}={self.name}", *grid, *fields]


def entries(choices: Sequence[Any], group: str) -> Iterator[Choice]:
    """Each entry of a list: a name of ``group``, an object, either in a pair with its NFE, or
    {LABEL: ENTRY}, where ENTRY is also {NAME: {FIELD: VALUE}} or, with ``grid`` and ``nfe`` or
    without, {group: NAME or object, grid: NAME or object, nfe: [A,B], FIELD: VALUE}.

    A solver's name may be one that other programs have, see ``samplers``.
    """
    seen: set[str] = set()
    for entry in choices:
        for label, choice_fields in _labelled(entry, group).items():
            if label in seen:
                raise InputError(
                    f"{group}s: {label} twice; give each entry a label of its own, "
                    f"{{LABEL: {{{group}: NAME}}}}"
                )
            if not LABEL.fullmatch(str(label)):
                # It names files, and must stay within its folder and a line of text.
                raise InputError(f"{group}s: label {label!r}; use letters, digits and _ . + -")
            seen.add(label)
            yield _choice(label, choice_fields, group)


def _labelled(entry: Any, group: str) -> Mapping[str, Any]:
    if isinstance(entry, Mapping):
        return entry
    if isinstance(entry, tuple) and len(entry) == 2:
        return {_label(entry[0], group): {group: entry[0], "nfe": entry[1]}}
    return {_label(entry, group): {group: entry}}


def _label(entry: Any, group: str) -> str:
    """What a result calls an entry without a label: its name, and the numbers that are not those of
    its yaml, ``unipc-order3``."""
    if isinstance(entry, str):
        return samplers.label(entry) if group == SOLVER and samplers.known(entry) else entry
    if inspect.isclass(entry):
        raise InputError(f"{group}s: {entry.__name__}: a class; give an object, {entry.__name__}()")
    if not isinstance(entry, Component):
        raise InputError(
            f"{group}s: {shown(entry)}: give a name, an object, or {{LABEL: {{{group}: NAME, "
            "KEY: VALUE}}"
        )
    name = groups.named(group, entry)
    if name is None:
        return type(entry).__name__
    usual = identity(groups.node(group, name))
    others = [
        f"{key}{value:g}" if type(value) is float else f"{key}{value}".lower()
        for key, value in identity(entry.fields()).items()
        if type(value) in (bool, int, float) and value != usual.get(key)
    ]
    return "-".join([name, *others])


def _choice(label: str, node: Any, group: str) -> Choice:
    if node is not None and not isinstance(node, Mapping):
        node = {group: node}
    fields = dict(node or {})
    nfe = _budgets(fields.pop("nfe"), f"{group}s: {label}: nfe") if "nfe" in fields else None
    grid = fields.pop("grid", None) if group != "grid" else None
    kind = fields.pop(group, None)
    if kind is None:
        kind = _unnamed(label, fields, group)
    if isinstance(kind, Mapping) and len(kind) == 1:
        ((kind, arguments),) = kind.items()
        fields |= arguments or {}
    if group == SOLVER and samplers.known(kind):
        preset = samplers.chosen(kind, grid, None)
        kind, fields = preset.solver, {**preset.solver_fields, **fields}
        grid = {preset.grid: dict(preset.grid_fields)} if preset.grid_fields else preset.grid
    if isinstance(kind, str):
        return Choice(label, group, kind, fields, grid, nfe)
    if not isinstance(kind, Component) or fields:
        why = "an object already; give it its fields" if fields else f"give {group}: NAME"
        raise InputError(f"{group}s: {label}: {shown(fields or kind)}: {why}")
    return Choice(label, group, groups.named(group, kind), kind.fields(), grid, nfe, kind)


def _unnamed(label: str, fields: dict[str, Any], group: str) -> Any:
    """What an entry is that does not say so: what its label names, or {NAME: {FIELD: VALUE}}."""
    names = groups.names(group)
    if label not in names and len(fields) == 1:
        ((name, arguments),) = fields.items()
        if name in names and (arguments is None or isinstance(arguments, Mapping)):
            return {name: fields.pop(name)}
    return label


def _budgets(nfe: Any, key: str) -> tuple[int, ...]:
    """One number of evaluations, or several."""
    budgets = converted(nfe, int | list[int], key)
    return tuple(budgets) if isinstance(budgets, list) else (budgets,)


def _word(value: Any) -> str:
    """A value as it is typed: [A,B] for a list, null for None."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_word, value))}]"
    return "null" if value is None else str(value).lower() if type(value) is bool else str(value)
