"""JSON that every reader takes, and that is read as strictly."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

FLOAT = "float"


def dumps(value: Any, indent: int | None = None) -> str:
    """``value`` as JSON; numbers that are not finite, which JSON has not, become null."""
    return json.dumps(_mapped(value, lambda number: None), indent=indent, allow_nan=False)


def encoded(value: Any) -> Any:
    """``value`` in what JSON can hold, exactly: infinity becomes {"float": "inf"}."""
    return json.loads(json.dumps(_mapped(value, lambda number: {FLOAT: repr(number)})))


def decoded(value: Any) -> Any:
    """Inverse of ``encoded``, but that tuples are lists and names are texts."""
    if isinstance(value, dict):
        if set(value) == {FLOAT} and isinstance(value[FLOAT], str):
            return float(value[FLOAT])
        return {name: decoded(entry) for name, entry in value.items()}
    return [decoded(entry) for entry in value] if isinstance(value, list) else value


def loads(text: str | bytes, finite: bool = True) -> Any:
    """The value of a JSON text; ValueError for a name that stands twice in an object.

    With ``finite`` also for NaN, Infinity and numbers too large for a float: what this package
    wrote at revision 7a19cb7 may hold them.
    """
    hooks: dict[str, Any] = {"parse_constant": _refused, "parse_float": _number} if finite else {}
    return json.loads(text, object_pairs_hook=_unique, **hooks)


def _mapped(value: Any, change: Callable[[float], Any]) -> Any:
    """``value`` with ``change`` of each number that is not finite in its place."""
    if isinstance(value, float):
        return value if math.isfinite(value) else change(value)
    if isinstance(value, Mapping):
        return {key: _mapped(entry, change) for key, entry in value.items()}
    return [_mapped(entry, change) for entry in value] if isinstance(value, list | tuple) else value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a name stands twice in its JSON")
    return value


def _refused(text: str) -> NoReturn:
    raise ValueError(f"its JSON holds {text}")


def _number(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refused(text)
