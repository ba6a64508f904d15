"""Words that are none of those known: which of them may have been meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from sde_diffusion.errors import InputError
from sde_diffusion.system.annotations import shown

# What two spellings of one word may differ in, besides capitals: ``DPM++ 2M`` is ``dpmpp_2m``.
ALIKE = str.maketrans({"+": "p", "-": "", "_": "", " ": ""})


# How alike a word must be to one of a few that are listed anyway.
OF_FEW = 0.87


def did_you_mean(word: str, choices: Iterable[str], likeness: float = 0.6) -> str:
    """``did you mean X? `` if something known is spelt much like it, else nothing.

    Capitals do not count, nor do hyphens, underscores and spaces.
    """
    spelt, typed = {folded(each): each for each in choices}, folded(word)
    swapped = [each for each in spelt if sorted(each) == sorted(typed)]  # ddmi is ddim, not ddrm
    near = swapped or difflib.get_close_matches(typed, spelt, n=1, cutoff=likeness)
    return f"did you mean {spelt[near[0]]}? " if near else ""


def folded(word: str) -> str:
    """A word without what spellings of it differ in."""
    return word.casefold().translate(ALIKE)


def none_of(key: str, value: Any, choices: Iterable[Any], also: str = "") -> InputError:
    """The refusal of a ``value`` that is none of those known; ``also`` is what may stand there
    besides, as in ``, or null``."""
    words = [str(each) for each in choices]
    near = did_you_mean(str(value), words, OF_FEW)
    return InputError(f"{key}={shown(value)}: {near}choose one of {', '.join(words)}{also}")
