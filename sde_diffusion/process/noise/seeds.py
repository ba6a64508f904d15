"""Seeds: whole numbers of 64 bits."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from sde_diffusion.errors import InputError

MOST = 10_000_000  # of one call
REMEDY = "give whole numbers from 0 to 2^64 - 1, such as range(16)"


def checked_seeds(seeds: Any) -> list[int]:
    """Seeds as Python integers.

    Args:
        seeds: a sequence of whole numbers 0 .. 2^64 - 1: Python's, numpy's or torch's.

    Raises:
        InputError: if it is no such sequence.
    """
    values = _plain(seeds)
    # A string is a sequence too: "12" would be two seeds if its letters were numbers.
    if isinstance(values, str | bytes) or not isinstance(values, Sequence):
        raise InputError(f"seeds: {_shown(seeds)} is no sequence of seeds; {REMEDY}")
    try:
        n = len(values)
    except OverflowError:  # of a range
        n = MOST + 1
    if n > MOST:  # before memory is spent
        raise InputError(f"seeds: {_shown(seeds)} are more than {MOST}; {REMEDY}")
    return [checked_seed(value) for value in values]


def checked_seed(value: Any, key: str = "seeds") -> int:
    """One seed as a Python integer; ``key`` is what the InputError names."""
    seed = _plain(value)
    try:
        # True is an index in Python.
        whole = -1 if isinstance(seed, bool) else operator.index(seed)
    except TypeError:
        whole = -1
    if not 0 <= whole < 2**64:
        number = "whole numbers" if key == "seeds" else "a whole number"
        raise InputError(f"{key}: {_shown(value)} is no seed; give {number} from 0 to 2^64 - 1")
    return whole


def seed_array(seeds: Sequence[int]) -> np.ndarray:
    """Seeds as whole numbers [n]: int64, or uint64 where one needs it. Left to choose, numpy takes
    float64 for small and large ones together, in which neighbours are one number."""
    return np.array(seeds, np.int64 if max(seeds, default=0) < 2**63 else np.uint64)


def _plain(value: Any) -> Any:
    """Python's numbers in the place of numpy's and torch's, exactly: uint64 stays whole."""
    return getattr(value, "tolist", lambda: value)()


def _shown(value: Any) -> str:
    """``value`` on one line, not too long."""
    words = " ".join(repr(value).split())
    return words if len(words) <= 40 else words[:37] + "..."
