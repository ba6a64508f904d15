"""How tests look at a refusal: which key it names and what remedy, not how it is worded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sde_diffusion.errors import InputError


@contextmanager
def refused(key: str, *words: str) -> Iterator[None]:
    """What is done within is refused in one line, which begins with ``key`` and has all ``words``.

    Args:
        key: what the user gave, ``grid.levels`` or ``seed=-1``.
        words: of the remedy, in the order in which they come: what can be typed instead.
    """
    with pytest.raises(InputError) as refusal:
        yield
    named(str(refusal.value), key, *words)


def named(line: str, key: str, *words: str) -> None:
    """The same of a line that is at hand: what the command line has printed, say."""
    assert "\n" not in line.rstrip("\n"), line
    assert line.startswith(key), f"{line!r} does not begin with {key!r}"
    place = len(key)
    for word in words:
        place = line.find(word, place)
        assert place >= 0, f"{line!r} lacks {word!r}"
        place += len(word)
