"""Class labels: a whole number or the name of a class, never truncated, never read by letters."""

from __future__ import annotations

import operator
import unicodedata
from collections.abc import Mapping, Sequence, Set
from typing import Any, final

from sde_diffusion.conditions.condition import LABEL, Condition
from sde_diffusion.conditions.conditioner import Conditioner
from sde_diffusion.errors import InputError
from sde_diffusion.system.spelling import did_you_mean

ALL = "all"
SHOWN = 20  # names that a message lists


@final
class Labels(Conditioner):
    """``label=7``, ``label=cat``, ``label=[3,1,4]``, ``label=all`` (seed mod classes), or null.

    Args:
        classes: how many there are; 0 for a model that knows none.
        names: of classes 0, 1, ..., where the data had any; of several with commas between, as
            ImageNet's, each is one.
        model: what a message calls the model.
    """

    def __init__(self, classes: int, names: Sequence[str] = (), model: str = "this model") -> None:
        self.classes, self.names, self.model = classes, tuple(names), model
        self.words = (LABEL,) if classes else ()

    def encode(self, wishes: Mapping[str, Any], seeds: Sequence[int]) -> Condition | None:
        label = wishes.get(LABEL)
        if label is None or (isinstance(label, str) and label == ALL and not self.classes):
            return None
        if not self.classes:
            raise InputError(f"label={label}: {self.model} knows no labels; use label=null")
        if isinstance(label, str) and label == ALL and ALL not in self.names:
            return Condition.label([seed % self.classes for seed in seeds])
        if isinstance(label, Mapping | Set):  # a set has no order that images could follow
            raise self._refusal(label)
        one = isinstance(label, str) or not hasattr(label, "__len__") or _is_scalar(label)
        values = [label] * len(seeds) if one else list(label)
        if len(values) != len(seeds):
            raise InputError(
                f"label: {len(values)} labels for {len(seeds)} images; give one label, or one "
                "for each image"
            )
        return Condition.label([self._number(value) for value in values])

    def _number(self, value: Any) -> int:
        """The class that ``value`` names or numbers; InputError with the choices."""
        if isinstance(value, str):
            name = unicodedata.normalize("NFC", value)  # as folders are read
            meant = self._called(name)
            if len(meant) > 1:
                same = " and ".join(map(str, meant))
                raise InputError(f"label={name}: is the name of classes {same}; give the number")
            if meant:
                return meant[0]
            if name.isdecimal() and not self.names:
                raise InputError(f"label='{name}': a text; give the number, label={int(name)}")
            raise self._refusal(value)
        if isinstance(value, bool):
            raise self._refusal(value)
        try:
            number = operator.index(value)
        except TypeError:
            raise self._refusal(value) from None
        named = self.names.index(str(number)) if str(number) in self.names else number
        if named != number:
            there = 0 <= number < self.classes
            called = f"is called {self.names[number]!r}" if there else "is none"
            raise InputError(
                f"label={number}: class {number} {called}, and {number} is the name of class "
                f"{named}; give the name in quotes, label='\"{number}\"'"
            )
        if not 0 <= number < self.classes:
            raise self._refusal(value)
        return number

    def _called(self, name: str) -> list[int]:
        """The classes of that name; else those that have it among several, "cat, tom"."""
        whole = [k for k, each in enumerate(self.names) if each == name]
        return whole or [
            k
            for k, each in enumerate(self.names)
            if name and name in map(str.strip, each.split(","))
        ]

    def _refusal(self, value: Any) -> InputError:
        names = ", ".join(self.names[:SHOWN]) + (", ..." if len(self.names) > SHOWN else "")
        named = f" or a name ({names})" if self.names else ""
        near = "" if str(value) == ALL else did_you_mean(str(value), (ALL, *self.names))
        return InputError(
            f"label={value}: {near}give a class, 0 .. {self.classes - 1}{named}, a list of one for "
            "each image, all, or null"
        )


def _is_scalar(value: Any) -> bool:
    """Whether it is an array of no dimensions, which has a length in name only."""
    return getattr(value, "ndim", 1) == 0
