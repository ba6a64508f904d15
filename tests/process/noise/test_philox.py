"""Philox4x32-10: the published answers, an independent twin, any shapes, numpy and torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sde_diffusion.process.noise.engines import DeviceEngine, Engine, HostEngine
from tests.process.noise import twin
from tests.process.noise.words import drawn

# Random123's kat_vectors: counter, key, result of philox4x32-10.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000",
     "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
     "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
     "d16cfe09 94fdcceb 5001e420 24126ea1"),
]  # fmt: skip
ENGINES: dict[str, Engine] = {"numpy": HostEngine(), "torch": DeviceEngine(torch.device("cpu"))}


def words(text: str) -> tuple[int, ...]:
    return tuple(int(word, 16) for word in text.split())


def ours(engine: Engine, counter: tuple[int, ...], key: tuple[int, ...]) -> tuple[int, ...]:
    """Four words, from counter and key each of four and two words."""
    columns = [np.array([[value]], dtype=np.int64) for value in counter]
    first, second = drawn(engine, columns, [key[0] + (key[1] << 32)])
    whole = [int(value[0, 0]) % 2**64 for value in (first, second)]
    return tuple(half for value in whole for half in divmod(value, 2**32))


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_the_published_answers(engine: Engine, counter: str, key: str, result: str) -> None:
    assert ours(engine, words(counter), words(key)) == words(result)
    assert twin.philox(words(counter), words(key)) == words(result)


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_the_twin_agrees(engine: Engine) -> None:
    for row in np.random.default_rng(0).integers(0, 2**32, (50, 6)).tolist():
        assert ours(engine, tuple(row[:4]), tuple(row[4:])) == twin.philox(row[:4], row[4:])


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_words_broadcast(engine: Engine) -> None:
    """Levels x rows x positions, what is shared given once: all as if each were alone."""
    g = np.random.default_rng(1)
    position, stream = np.arange(5), np.full((1, 1), 7)
    low, high = g.integers(0, 2**32, (2, 3, 4, 1))
    seeds = g.integers(0, 2**64, 4, dtype=np.uint64).tolist()
    pair = drawn(engine, (position, low, high, stream), seeds)
    assert pair.shape == (2, 3, 4, 5)
    for level, row, column in np.ndindex(3, 4, 5):
        at = (level, row)
        counter = (column, int(low[at][0]), int(high[at][0]), 7)
        r = twin.philox(counter, (seeds[row] % 2**32, seeds[row] // 2**32))
        found = [int(p[level, row, column]) % 2**64 for p in pair]
        assert found == [r[0] * 2**32 + r[1], r[2] * 2**32 + r[3]]
