"""Rows of a request that would be one picture twice, and be counted as two."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations

import torch
from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.errors import InputError
from sde_diffusion.sampling.sampler import Request
from sde_diffusion.system.annotations import shown


def check_repeats(request: Request) -> None:
    """InputError if two rows have the same seed, condition and start.

    One seed with several labels, prompts or pictures to start from is the same noise for each.
    """
    if isinstance(request.seeds, range) or len(set(request.seeds)) == len(request.seeds):
        return
    rows = defaultdict(list)
    for i, seed in enumerate(request.seeds):
        rows[seed].append(i)
    for seed, places in rows.items():
        for a, b in combinations(places[:100], 2):
            if _alike(request, a, b):
                once = shown(list(rows)).replace(" ", "")
                raise InputError(
                    f"seeds: {seed} twice draws the same picture twice; give each once, "
                    f"seeds={once}, or a label, prompt or picture of its own to each"
                )


def _alike(request: Request, a: int, b: int) -> bool:
    """Whether two rows of one seed have nothing else to tell them apart."""
    first, second = (request.rows(slice(i, i + 1)) for i in (a, b))
    return first.start.same_as(second.start) and _same(first.cond, second.cond)


def _same(a: Condition | None, b: Condition | None) -> bool:
    """Whether two conditions of one row are the same."""
    if a is None or b is None:
        return a is b
    return all(map(torch.equal, _tensors(a), _tensors(b)))


def _tensors(cond: Condition) -> Iterator[Tensor]:
    for part in cond.parts.values():
        yield from (part.value, part.keep, *part.aside.values())
    if cond.other is not None:
        yield from _tensors(cond.other)
