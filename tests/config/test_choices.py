"""Choices as they are typed: seeds and words."""

from __future__ import annotations

from typing import Any

import pytest

from sde_diffusion.config.choices import MOST_SEEDS, choice, seed_list
from sde_diffusion.errors import InputError


@pytest.mark.parametrize(
    ("seeds", "n", "numbers"),
    [
        (None, None, list(range(64))),
        (None, 3, [0, 1, 2]),
        ("5-8", None, [5, 6, 7, 8]),
        ("5", 1, [5]),
        (7, None, [7]),
        ([3, 14, 3], 3, [3, 14, 3]),
        (["0-2", 7, "9-9"], None, [0, 1, 2, 7, 9]),
        (str(2**64 - 1), None, [2**64 - 1]),
    ],
)
def test_seeds(seeds: Any, n: int | None, numbers: list[int]) -> None:
    assert seed_list(seeds, n) == numbers


@pytest.mark.parametrize(
    ("seeds", "n"),
    [
        (1.5, None), ([1.7], None), ("1.5", None), (True, None), ([True], None), ([[1]], None),
        ("5-", None), ("-5", None), (-5, None), ("9-5", None), ([], None), ([1, "2"], None),
        (["3-1", 4], None), (["0-9999999", 4], None),
        ({"a": 1}, None), ("0-3", 5), ("0-99999999999", None), (float("inf"), None),
        (None, 0), (None, -1), (None, MOST_SEEDS + 1), (None, 10**11), ("9" * 100, None),
    ],
)  # fmt: skip
def test_seeds_that_are_none_are_one_line_that_names_them(seeds: Any, n: int | None) -> None:
    with pytest.raises(InputError, match=r"^(seeds|n)=.*: .*(give|leave)"):
        seed_list(seeds, n)


def test_a_choice_is_one_of_a_few() -> None:
    assert choice("mode", "a", ["a", "b"]) == "a"
    with pytest.raises(InputError, match=r"mode=A: did you mean a\? choose one of a, b"):
        choice("mode", "A", ["a", "b"])
    with pytest.raises(InputError, match=r"dtype=float16: choose one of float32, float64"):
        choice("dtype", "float16", ["float32", "float64"])
    with pytest.raises(InputError, match=r"mode=c: choose one of a, b"):
        choice("mode", "c", ["b", "a"])
