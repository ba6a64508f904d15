"""Draws of a case: from a seed in a long run, from hypothesis in the suite.

Hypothesis makes a case that fails smaller: it moves every draw towards its first choice and leaves
out what was drawn several times. So what is usual and small stands first, what is rare last.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeVar, final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

T = TypeVar("T")


class Draws(ABC):
    """What a generator asks for."""

    @abstractmethod
    def below(self, n: int) -> int:
        """0 .. n - 1."""

    @abstractmethod
    def several(self, most: int, make: Callable[[Draws], T]) -> list[T]:
        """None, or up to ``most`` of what ``make`` makes."""

    def choice(self, among: Sequence[T]) -> T:
        """One of them."""
        return among[self.below(len(among))]

    def chance(self, percent: int) -> bool:
        """True so often of a hundred; false is the smaller case."""
        return self.below(100) >= 100 - percent


@final
class Seeded(Draws):
    """Those of a seed, each as likely as another."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def below(self, n: int) -> int:
        return self._rng.randrange(n)

    def several(self, most: int, make: Callable[[Draws], T]) -> list[T]:
        return [make(self) for _ in range(self.below(most + 1))]


@final
class Shrinking(Draws):
    """Those of hypothesis."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def below(self, n: int) -> int:
        # By draws below 100: to a larger range hypothesis adds numbers out of the modules that
        # happen to be imported, and a run would depend on the tests before it.
        drawn, reach = 0, 1
        while reach < n:
            size = min(-(-n // reach), 100)
            drawn, reach = drawn * size + self._draw(st.integers(0, size - 1)), reach * size
        return drawn % n

    def several(self, most: int, make: Callable[[Draws], T]) -> list[T]:
        # Each a span of its own, which can be left out as a whole.
        return [self._draw(cases(make)) for _ in range(self.below(most + 1))]


def cases(drawn: Callable[[Draws], T]) -> st.SearchStrategy[T]:
    """The cases of a generator, such as hypothesis can make smaller."""

    @st.composite
    def case(draw: st.DrawFn) -> T:
        return drawn(Shrinking(draw))

    return case()


def quick(examples: int) -> settings:
    """So many cases, the same in every run, with nothing kept of them."""
    return settings(
        max_examples=examples, derandomize=True, deadline=None, database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )  # fmt: skip
