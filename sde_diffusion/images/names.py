"""What pictures of samples are called, by row, seed and class."""

from __future__ import annotations

import re
from collections.abc import Sequence

OF_A_CLASS = re.compile(r"[0-9]{5,}-seed[0-9]+-class([0-9]{1,9})\.png")


def file_name(k: int, n: int, seed: int, label: int | None) -> str:
    """Of the picture of row ``k`` of ``n``: sorted by name they are sorted by row."""
    row = str(k).zfill(max(5, len(str(n - 1))))
    return f"{row}-seed{seed}{'' if label is None else f'-class{label}'}.png"


def labels_of(names: Sequence[str]) -> list[int] | None:
    """The classes in names of ``file_name``; None unless each of them is one and has a class."""
    matches = [OF_A_CLASS.fullmatch(name) for name in names]
    return None if None in matches else [int(match[1]) for match in matches if match]
