"""What a yaml or a user may give: names that are known, values of the right type, trusted classes.

A value is checked against the annotation of the parameter that it fills. What is a component there
is left to ``groups``; anywhere else a mapping with a ``_target_`` is refused.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import inspect
import typing
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal, TypeVar

from sde_diffusion.config.synonyms import key_meant
from sde_diffusion.errors import InputError
from sde_diffusion.system import ranges
from sde_diffusion.system.annotations import LISTS, WORDS, Listable, alternatives, shown, wanted
from sde_diffusion.system.identity import TARGET, Component
from sde_diffusion.system.names import OURS

NETWORKS = "sde_diffusion.networks"
ENTRY_POINTS = ("sde_diffusion.components", NETWORKS)
MISSING = "???"
T = TypeVar("T")


class Unfit(ValueError):
    """A value is not of the type that is asked for."""


def known(key: str, name: str, fields: Iterable[str]) -> str:
    """What ``key`` takes, and which of it may have been meant by ``name``."""
    names = sorted(fields)
    return f"{key_meant(name, names)}{key} takes {', '.join(names) or 'no fields'}"


def unknown(key: str, name: str, fields: Iterable[str]) -> InputError:
    """The refusal of field ``name`` of ``key``, which takes others."""
    return InputError(f"{key}.{name}: unknown key; {known(key, name, fields)}")


@cache
def trusted_packages() -> frozenset[str]:
    """Top-level packages whose classes a yaml may name; read once, from every installed package."""
    points = [point for group in ENTRY_POINTS for point in entry_points(group=group)]
    return frozenset({OURS, *(point.module.split(".")[0] for point in points)})


def located(target: Any, key: str, base: type[Any] = Component) -> type[Any]:
    """The component class that a ``_target_`` names.

    InputError unless it is a class of a trusted package that derives from ``base`` and is whole.
    """
    trusted = trusted_packages()
    where = f"{key}.{TARGET}={target}"
    if type(target) is not str or target.split(".")[0] not in trusted:
        raise InputError(
            f"{where}: not a class of {', '.join(sorted(trusted))}; "
            f"other packages declare the entry point {ENTRY_POINTS[0]}"
        )
    module, _, name = target.rpartition(".")
    try:
        named = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"{where}: not found ({' '.join(str(error).split())})") from error
    # A trusted module also holds what it imports (os, torch): only its own classes count.
    if not (inspect.isclass(named) and issubclass(named, base) and _owner(named) in trusted):
        kind = "component" if base is Component else base.__name__
        raise InputError(f"{where}: not a {kind}; choose one with {key}=NAME")
    if inspect.isabstract(named):
        raise InputError(f"{where}: what others derive from; choose one with {key}=NAME")
    return typing.cast(type[Any], named)


def _owner(named: type) -> str:
    return named.__module__.split(".")[0]


def hints(owner: Any) -> dict[str, Any]:
    """Annotations of a class's constructor, or of a dataclass's fields."""
    function = owner if dataclasses.is_dataclass(owner) else owner.__init__
    return typing.get_type_hints(function)


def component_of(annotation: Any) -> type[Component] | None:
    """The component class that an annotation asks for, alone or or-else-None; None for others."""
    for choice in alternatives(annotation):
        named = typing.get_origin(choice) or choice
        if inspect.isclass(named) and issubclass(named, Component):
            return named
    return None


def items_of(annotation: Any) -> Any:
    """The annotation of the entries of a list, None if the annotation is no list."""
    for choice in alternatives(annotation):
        if typing.get_origin(choice) in LISTS:
            return (*typing.get_args(choice), Any)[0]
    return None


def converted(value: Any, annotation: Any, key: str) -> Any:
    """``value`` as the type that ``annotation`` names; InputError says what to give."""
    try:
        return _converted(value, annotation)
    except Unfit:
        give = wanted(annotation)
        with contextlib.suppress(Unfit):
            if not isinstance(value, list | tuple | Mapping) and value is not None:
                _converted([value], annotation)
                give = give.replace("[A,B]", f"[{shown(value)}] or [A,B]")
        raise InputError(f"{key}={shown(value)}: give {give}") from None


def _converted(value: Any, annotation: Any) -> Any:
    if isinstance(value, Listable):  # numpy's and torch's numbers and arrays
        value = value.tolist()
    choices = alternatives(annotation)
    if value is None or isinstance(value, Component):
        if annotation is Any or (type(None) in choices and value is None):
            return value
        raise Unfit
    for choice in choices:
        try:
            return _as(choice, value)
        except Unfit:
            continue
    raise Unfit


def _as(kind: Any, value: Any) -> Any:
    """``value`` as one type, None and unions excepted."""
    origin = typing.get_origin(kind)
    if origin is Literal:
        return _of(value, value in typing.get_args(kind))
    if origin in LISTS:
        entry = (*typing.get_args(kind), Any)[0]
        return [_converted(v, entry) for v in _of(value, isinstance(value, list | tuple))]
    if kind in WORDS:
        return _plain(kind, value)
    if kind is Path:
        return Path(_of(value, isinstance(value, str | Path)))
    return _of(value, kind is not type(None) and not _names_a_class(value))


def _plain(kind: type, value: Any) -> Any:
    """A number, a truth value or text; digits in quotes are numbers, and numbers are text."""
    if kind is bool:
        word = {"true": True, "false": False}.get(str(value).lower())
        return _of(word, word is not None and type(value) in (bool, str))
    if kind is str:
        text = isinstance(value, str | int | float | Path) and type(value) is not bool
        return str(_of(value, text))
    kinds = (int, str) if kind is int else (int, float, str)
    try:
        number = kind(_of(value, type(value) in kinds))
    except (ValueError, OverflowError):
        raise Unfit from None
    return value if type(value) is int else number  # 1 for 1.0 stays as it was typed


def _of(value: T, fits: bool) -> T:
    if not fits:
        raise Unfit
    return value


def _names_a_class(value: Any) -> bool:
    """Whether a ``_target_`` stands in it at any depth: there, where no component is asked for."""
    if isinstance(value, Mapping):
        return TARGET in value or any(map(_names_a_class, value.values()))
    return isinstance(value, list | tuple) and any(map(_names_a_class, value))


def read(config: Mapping[str, Any], schema: type[T]) -> T:
    """The entries of ``config`` as an instance of the dataclass ``schema``.

    InputError names an entry that is missing, of another type, or no field.
    """
    fields = dataclasses.fields(schema)  # type: ignore[arg-type]  # T is a dataclass
    names = [field.name for field in fields]
    for key in config:
        if key not in names:
            near = key_meant(key, names)
            raise InputError(f"{key}: unknown key here; {near}this task takes {', '.join(names)}")
    values = {}
    for field in fields:
        if config.get(field.name, MISSING) != MISSING:
            annotation = hints(schema)[field.name]
            values[field.name] = converted(config[field.name], annotation, field.name)
        elif field.name in config or _has_no_default(field):
            raise InputError(f"{field.name}: required; give {field.name}=...")
    usual = {field.name: _default(field) for field in fields if not _has_no_default(field)}
    kinds = typing.get_type_hints(schema, include_extras=True)
    ranges.check("", kinds, {**usual, **values}, usual)
    return schema(**values)


def _default(field: dataclasses.Field[Any]) -> Any:
    factory = field.default_factory
    return field.default if factory is dataclasses.MISSING else factory()


def _has_no_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is field.default_factory is dataclasses.MISSING
