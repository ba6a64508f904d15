"""Seeds: whole numbers of 64 bits, whoever wrote them; all else is one line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sde_diffusion.errors import InputError
from sde_diffusion.process.noise import (
    Brownian,
    NoiseSource,
    Seeds,
    checked_seed,
    checked_seeds,
    seed_array,
)
from tests.refusals import refused

LAST = 2**64 - 1


@pytest.mark.parametrize(
    ("given", "seeds"),
    [
        (range(3), [0, 1, 2]),
        ((7,), [7]),
        ([], []),
        ([LAST, 2**63], [LAST, 2**63]),
        (np.array([LAST, 1], dtype=np.uint64), [LAST, 1]),
        ([np.int8(5), np.uint64(LAST), torch.tensor(3)], [5, LAST, 3]),
        (torch.arange(3), [0, 1, 2]),
        (torch.tensor([LAST], dtype=torch.uint64), [LAST]),
    ],
    ids=str,
)
def test_whole_numbers_of_any_library(given: Any, seeds: list[int]) -> None:
    checked = checked_seeds(given)
    assert checked == seeds
    assert all(type(seed) is int for seed in checked)


@pytest.mark.parametrize(
    "given",
    [
        [-1], [2**64], [1.0], [True], ["1"], [None], [[1]], "12", b"12", 5, None, {1, 2},
        np.array([1.5]), np.array([True]), np.array(4), np.array([[1]]),
        torch.tensor([1.0]), torch.tensor([True]), torch.tensor([[3]]), [torch.tensor([3])],
        ["x\ny" * 50],
    ],
    ids=lambda given: str(given)[:20],
)  # fmt: skip
@pytest.mark.parametrize("source", [Seeds(), Brownian()], ids=["seeds", "brownian"])
def test_all_else_is_one_line(given: Any, source: NoiseSource) -> None:
    with refused("seeds", "give whole numbers from 0 to 2^64 - 1"):
        source.batch(given, (2,))
    with pytest.raises(InputError) as caught:
        checked_seeds(given)
    assert len(str(caught.value)) < 150
    assert "\n" not in str(caught.value)


def test_one_seed_has_its_own_key() -> None:
    assert checked_seed(np.int64(4), "seed") == 4
    with refused("seed", "give a whole number from 0"):
        checked_seed(1.5, "seed")


def test_all_64_bits_count() -> None:
    """0 and 2^32 differ, as do seeds that share their low or high half, and neighbours."""
    seeds = [0, 1, 2**31, 2**32, 2**32 + 1, 2**63, 2**63 + 1, LAST, LAST - 1, LAST - 2**32]
    start = Seeds().start(seeds, (64,), torch.float64)
    assert len(start.unique()) == len(seeds) * 64


@pytest.mark.parametrize("seeds", [range(2**40), range(2**70), range(10_000_001)])
def test_more_seeds_than_memory_holds_are_one_line(seeds: range) -> None:
    with refused("seeds", "more than 10000000", "such as range(16)"):
        checked_seeds(seeds)


@pytest.mark.parametrize(
    "seeds", [[1, 2**63, 2**63 + 1], [0, 2**64 - 1, 2**64 - 2], [2**63 - 1, 2**63], [3, 5], []]
)
def test_seeds_kept_in_an_array_are_all_different(seeds: list[int]) -> None:
    """Small and large ones together, which the twin took for float64: 2^63 and 2^63 + 1 are one."""
    kept = seed_array(seeds)
    assert kept.dtype.kind in "iu"
    assert kept.tolist() == seeds
    twin = np.array([1, 2**63, 2**63 + 1])
    assert len(set(twin.tolist())) == 2
