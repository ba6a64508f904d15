"""Rows of a request that would be one picture twice, and be counted as two."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations

import torch
from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.errors import InputError
from sde_diffusion.sampling.start import Start
from sde_diffusion.system.annotations import shown


def check_repeats(seeds: Sequence[int], cond: Condition | None, start: Start) -> None:
    """InputError if two rows have the same seed, condition and start.

    One seed with several labels, prompts or pictures to start from is the same noise for each.
    """
    if isinstance(seeds, range) or len(set(seeds)) == len(seeds):
        return
    rows = defaultdict(list)
    for i, seed in enumerate(seeds):
        rows[seed].append(i)
    for seed, places in rows.items():
        for a, b in combinations(places[:100], 2):
            if _alike(cond, start, a, b):
                once = shown(list(rows)).replace(" ", "")
                raise InputError(
                    f"seeds: {seed} twice draws the same picture twice; give each once, "
                    f"seeds={once}, or a label, prompt or picture of its own to each"
                )


def _alike(cond: Condition | None, start: Start, a: int, b: int) -> bool:
    """Whether two rows of one seed have nothing else to tell them apart."""
    first, second = (slice(i, i + 1) for i in (a, b))
    same = cond is None or _same(cond[first], cond[second])
    return same and start.rows(first).same_as(start.rows(second))


def _same(a: Condition, b: Condition) -> bool:
    """Whether two conditions of one row are the same."""
    return all(map(torch.equal, _tensors(a), _tensors(b)))


def _tensors(cond: Condition) -> Iterator[Tensor]:
    for part in cond.parts.values():
        yield from (part.value, part.keep, *part.aside.values())
    if cond.other is not None:
        yield from _tensors(cond.other)
