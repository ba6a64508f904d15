"""What arguments may be, said beside each of them and checked in one place.

    def __init__(self, rho: Annotated[float, Within("0.05 <= rho <= 1000")] = 7.0) -> None:

Every component's arguments are checked before its constructor runs, and the keys of every task, so
that the command line and Python refuse the same values in the same words.
"""

from __future__ import annotations

import math
import operator
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import product
from typing import Annotated, Any

from sde_diffusion.errors import InputError
from sde_diffusion.system.annotations import Listable, alternatives, fits, notes, shown, wanted
from sde_diffusion.system.spelling import OF_FEW, did_you_mean

COMPARED: dict[str, Callable[[Any, Any], bool]] = {"<": operator.lt, "<=": operator.le}


class FieldError(InputError):
    """An argument is none of what its constructor takes; ``key`` is what the component is called.

    Attributes:
        field, value: the argument. remedy: what to give.
    """

    def __init__(self, key: str, field: str, value: Any, remedy: str) -> None:
        self.field, self.value, self.remedy = field, value, remedy
        name = f"{key}.{field}" if key else field
        super().__init__(f"{name}={shown(value)}: {remedy}")

    def of(self, key: str) -> FieldError:
        """The same of a component that is called ``key``."""
        return FieldError(key, self.field, self.value, self.remedy)


@dataclass(frozen=True)
class OneOf:
    """Values of which one is chosen."""

    values: tuple[Any, ...]

    def __init__(self, *values: Any) -> None:
        object.__setattr__(self, "values", values)

    def broken(self, name: str, values: Mapping[str, Any]) -> str | None:
        """The argument at fault, if ``name`` is none of them; null is another rule's."""
        return None if values[name] is None or values[name] in self.values else name

    def said(self, name: str, values: Mapping[str, Any]) -> str:
        """The values."""
        words = [str(each) for each in self.values]
        return f"{did_you_mean(str(values[name]), words, OF_FEW)}choose one of {', '.join(words)}"


@dataclass(frozen=True)
class Within:
    """A chain of ``<`` and ``<=`` between numbers and arguments: ``0 < low < high <= 1e6``.

    Of a list each entry keeps it, of two lists each row. A number that is not finite keeps it only
    where the chain says ``inf``. Null keeps all.
    """

    chain: str

    def broken(self, name: str, values: Mapping[str, Any]) -> str | None:
        """The argument at fault, if the chain does not hold where it stands beside ``name``."""
        words = self.chain.split()
        if "inf" not in words and not all(map(_finite, _entries(values[name]))):
            return name
        for a, op, b in zip(words[::2], words[1::2], words[2::2], strict=False):
            left, right = (_entries(_value(word, values)) for word in (a, b))
            if not all(COMPARED[op](*row) for row in _rows(left, right)):
                return a if a in values else b
        return None

    def said(self, name: str, values: Mapping[str, Any]) -> str:
        """The chain, with the values of the other arguments in it."""
        words = [
            f"{word}={shown(values[word])}" if word in values and word != name else word
            for word in self.chain.split()
        ]
        return f"give {' '.join(words) or 'a finite number'}"


Rule = OneOf | Within
# What several tasks and components ask for.
Batch = Annotated[int, Within("1 <= batch_size <= 1000000")]
Seed = Annotated[int, Within("0 <= seed < 18446744073709551616")]
FINITE = Within("")


def _value(word: str, values: Mapping[str, Any]) -> Any:
    return values[word] if word in values else float(word)


def _finite(number: Any) -> bool:
    """Also not so large a whole number that no 64 bits hold it, which arithmetic stumbles at."""
    return abs(number) < 2**64 if isinstance(number, int) else math.isfinite(number)


def _reads_as_number(value: Any) -> bool:
    """Whether it is the text of a number, which a message shows as that number."""
    try:
        float(value if isinstance(value, str) else "none")
    except ValueError:
        return False
    return True


def _entries(value: Any) -> list[Any]:
    """The numbers that a value is made of; none of null."""
    plain = value.tolist() if isinstance(value, Listable) else value
    return list(plain) if isinstance(plain, list | tuple) else [] if plain is None else [plain]


def _rows(left: list[Any], right: list[Any]) -> Iterator[tuple[Any, Any]]:
    """The pairs to be compared: a single number with every entry of a list."""
    if 1 in (len(left), len(right)):
        return product(left, right)
    return zip(left, right, strict=False)


def check(
    key: str,
    annotations: Mapping[str, Any],
    values: Mapping[str, Any],
    usual: Mapping[str, Any] | None = None,
) -> None:
    """FieldError unless all ``values`` are what their annotations ask for.

    Args:
        key: what the component is called; empty for keys of a task.
        annotations: by name, with what ``Annotated`` adds.
        values: of all arguments, by name.
        usual: their defaults, which a message gives as an example.
    """
    ruled = {name: kind for name, kind in annotations.items() if name in values}
    for name, kind in ruled.items():
        if not fits(values[name], kind):
            text = "a text; " * _reads_as_number(values[name])
            raise FieldError(key, name, values[name], f"{text}give {wanted(kind)}")
    for name, kind in ruled.items():
        for rule in [each for each in notes(kind) if isinstance(each, Rule)] or _unsaid(kind):
            at_fault = rule.broken(name, values)
            if at_fault is not None:
                message = rule.said(at_fault, values)
                message += _example(rule, name, at_fault, values, usual or {})
                raise FieldError(key, at_fault, values[at_fault], message)


def check_dataclass(item: Any) -> None:
    """FieldError unless all fields of a dataclass are what their annotations ask for."""
    kinds = typing.get_type_hints(type(item), include_extras=True)
    check("", kinds, {each.name: getattr(item, each.name) for each in fields(item)})


def _unsaid(kind: Any) -> list[Rule]:
    """The rule of what has none: numbers, alone or in a list, are finite."""
    asked = [(each, typing.get_args(each)) for each in alternatives(kind)]
    return [FINITE] if any(float in (each, *args) for each, args in asked) else []


def _example(
    rule: Rule, name: str, at_fault: str, values: Mapping[str, Any], usual: Mapping[str, Any]
) -> str:
    """The default of the argument at fault, where it keeps the rule."""
    if usual.get(at_fault) is None:
        return ""
    example = usual[at_fault]
    if rule.broken(name, {**values, at_fault: example}) is not None:
        return ""
    return f", such as {shown(list(example) if isinstance(example, tuple) else example)}"
