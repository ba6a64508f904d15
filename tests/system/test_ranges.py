"""What arguments may be: types and ranges, said beside them, checked before a constructor runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
import torch

from sde_diffusion.errors import InputError
from sde_diffusion.system.identity import Component
from sde_diffusion.system.ranges import FieldError, OneOf, Within, check, check_dataclass


class Part(Component, known_as="part"):
    """Arguments of every kind."""

    def __init__(
        self,
        low: Annotated[float, Within("0 < low < high")] = 1.0,
        high: Annotated[float, Within("high <= inf")] = 2.0,
        plain: float = 0.5,
        order: Annotated[int, OneOf(1, 2, 3)] = 2,
        count: Annotated[int, Within("1 <= count <= 10")] | None = None,
        levels: Annotated[Sequence[float], Within("low <= levels <= 80")] = (3.0, 2.0),
        name: str = "a",
        flag: bool = False,
        inner: Part | None = None,
        any_value: Any = None,
    ) -> None:
        self.ran = True


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"low": 0.0}, "part.low=0.0: give 0 < low < high=2.0, such as 1.0"),
        ({"low": 3}, "part.low=3: give 0 < low < high=2.0, such as 1.0"),
        ({"high": 0.5}, "part.low=1.0: give 0 < low < high=0.5"),  # its default would not do
        ({"high": math.nan}, "part.low=1.0: give 0 < low < high=nan"),
        ({"low": math.inf}, "part.low=inf: give 0 < low < high=2.0, such as 1.0"),
        ({"plain": math.inf}, "part.plain=inf: give a finite number, such as 0.5"),
        ({"plain": math.nan}, "part.plain=nan: give a finite number, such as 0.5"),
        ({"plain": "1"}, "part.plain=1: a text; give a number"),
        ({"plain": True}, "part.plain=True: give a number"),
        ({"plain": None}, "part.plain=None: give a number"),
        ({"order": 4}, "part.order=4: choose one of 1, 2, 3, such as 2"),
        ({"order": 2.0}, "part.order=2.0: give a whole number"),
        ({"count": 11}, "part.count=11: give 1 <= count <= 10"),
        ({"levels": [90.0, 1.0]}, "part.levels=[90.0, 1.0]: give low=1.0 <= levels <= 80, such as"),
        ({"levels": [3.0, math.nan]}, "part.levels=[3.0, nan]: give low=1.0 <= levels"),
        ({"levels": 3.0}, "part.levels=3.0: give a list of numbers, [A,B]"),
        ({"levels": ["a"]}, "part.levels=['a']: give a list of numbers, [A,B]"),
        ({"name": 3}, "part.name=3: give text"),
        ({"flag": 1}, "part.flag=1: give true or false"),
        ({"inner": "heun"}, "part.inner=heun: give a tests:Part, or null"),
        ({"low": "x" * 200}, f"part.low={'x' * 77}...: give a number"),
    ],
)
def test_what_is_no_argument_is_refused_in_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(FieldError) as caught:
        Part(**given)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "given",
    [
        {"high": math.inf},
        {"low": np.float32(1.5), "order": np.int64(3)},
        {"low": torch.tensor(1.5), "levels": torch.tensor([3.0, 2.0])},
        {"levels": np.array([3.0, 2.0])},
        {"levels": []},
        {"name": Path("a")},
        {"count": 10, "plain": 3, "inner": Part(), "any_value": object()},
    ],
)
def test_what_is_one_is_taken(given: dict[str, Any]) -> None:
    assert Part(**given).ran


def test_the_key_is_that_of_the_place() -> None:
    with pytest.raises(FieldError) as caught:
        Part(order=7)
    assert str(caught.value.of("solver.inner")).startswith("solver.inner.order=7: choose one of 1")


def test_a_subclass_is_known_as_its_base() -> None:
    class Other(Part):
        def __init__(self, x: Annotated[float, Within("0 <= x <= 1")]) -> None:
            self.x = x

    with pytest.raises(InputError, match=r"^part\.x=2: give 0 <= x <= 1$"):
        Other(2)


def test_a_class_whose_annotations_name_what_is_not_there_is_left_to_itself() -> None:
    class Other(Part):
        def __init__(self, x: Nowhere) -> None:  # type: ignore[name-defined]  # noqa: F821
            self.x = x

    assert Other("anything").x == "anything"


@dataclass
class Task:
    n: Annotated[int, Within("1 <= n")]


def test_fields_of_a_dataclass() -> None:
    check_dataclass(Task(1))
    with pytest.raises(InputError, match=r"^n=0: give 1 <= n$"):
        check_dataclass(Task(0))


@pytest.mark.parametrize("value", [2**64, -(10**30), 10**400, [1.0, 10**400]])
def test_a_whole_number_beyond_64_bits_is_not_finite(value: object) -> None:
    """torch's arithmetic ended in "int too big to convert", ``math.isfinite`` in the same."""
    with pytest.raises(FieldError, match=r"^guidance\.scale=.*give a finite number"):
        check("guidance", {"scale": float | list[float]}, {"scale": value})


@pytest.mark.parametrize("value", [2**63, 2**64 - 1, -(2**63), 1e308])
def test_others_are(value: float) -> None:
    check("guidance", {"scale": float}, {"scale": value})
