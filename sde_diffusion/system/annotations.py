"""What an annotation asks for: its alternatives, whether a value is one of them, and in words."""

from __future__ import annotations

import inspect
import numbers
import os
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

from sde_diffusion.system.names import name_of

WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
LISTS = (list, tuple, Sequence)


@runtime_checkable
class Listable(Protocol):
    """numpy's and torch's numbers and arrays."""

    def tolist(self) -> Any: ...


def alternatives(annotation: Any) -> tuple[Any, ...]:
    """The types of a union, or the annotation alone; what ``Annotated`` adds is left out."""
    if typing.get_origin(annotation) is Annotated:
        return alternatives(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return tuple(kind for each in typing.get_args(annotation) for kind in alternatives(each))
    return (annotation,)


def notes(annotation: Any) -> list[Any]:
    """What ``Annotated`` adds to an annotation, or to an alternative of it."""
    if typing.get_origin(annotation) is Annotated:
        return list(typing.get_args(annotation)[1:])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [note for each in typing.get_args(annotation) for note in notes(each)]
    return []


def shown(value: Any, most: int = 80) -> str:
    """A value as it stands in a message: in one line that is not long."""
    text = " ".join(str(value).split())
    return text if len(text) <= most else f"{text[: most - 3]}..."


def fits(value: Any, annotation: Any) -> bool:
    """Whether a value is of a type that an annotation asks for; of types that are no plain values
    and no classes anything fits."""
    return _fits(value, alternatives(annotation))


def _fits(value: Any, kinds: tuple[Any, ...]) -> bool:
    if any(_is(value, kind) for kind in kinds):
        return True
    return isinstance(value, Listable) and any(_is(value.tolist(), kind) for kind in kinds)


def _is(value: Any, kind: Any) -> bool:
    origin = typing.get_origin(kind) or kind
    if kind is Any or kind is type(None):
        return kind is Any or value is None
    if origin is Literal:
        return value in typing.get_args(kind)
    if kind in (int, float):
        number = numbers.Integral if kind is int else numbers.Real
        return isinstance(value, number) and not isinstance(value, bool)
    if kind is str:
        return isinstance(value, str | os.PathLike)
    if origin in LISTS:
        entry = alternatives((*typing.get_args(kind), Any)[0])
        return isinstance(value, list | tuple) and all(_fits(each, entry) for each in value)
    if not inspect.isclass(origin) or isinstance(value, origin):
        return True
    # Another component of the group: its constructor says why it will not do.
    return getattr(type(value), "known_as", None) == getattr(origin, "known_as", "") != ""


def wanted(annotation: Any) -> str:
    """What to give for a value of this type, for a message."""
    choices = [choice for choice in alternatives(annotation) if choice is not type(None)]
    words = list(dict.fromkeys(map(_wanted, choices)))
    return ", or ".join([*words, *["null"] * (type(None) in alternatives(annotation))])


def _wanted(kind: Any) -> str:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return f"one of {', '.join(map(str, args))}"
    if origin in LISTS:
        entry = WORDS.get(args[0] if args else Any, "").removeprefix("a ")
        return f"a list of {entry}s, [A,B]" if entry else "a list, [A,B]"
    if origin in (Mapping, dict) or kind is dict:
        return "entries by name, {NAME: VALUE}"
    if kind in (*WORDS, Any, Path) or not inspect.isclass(origin or kind):
        return WORDS.get(kind, "a plain value")
    return f"a {name_of(origin or kind)}"
