"""Rows of a request that would be one picture twice, and be counted as two."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence

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
    times, seen = Counter(seeds), set[tuple[object, ...]]()
    apart = [t for t in _tensors(cond, start) if t.ndim and len(t) == len(seeds) and t.stride(0)]
    for i, seed in enumerate(seeds):
        if times[seed] == 1:
            continue
        row = (seed, *(_digest(tensor[i]) for tensor in apart))
        if row in seen:
            once = shown(list(times)).replace(" ", "")
            raise InputError(
                f"seeds: {seed} twice draws the same picture twice; give each once, "
                f"seeds={once}, or a label, prompt or picture of its own to each"
            )
        seen.add(row)


def _digest(row: Tensor) -> bytes:
    """Of the values of a tensor; 0 and -0 are one."""
    values = row.detach().cpu().contiguous().reshape(-1)
    if values.is_floating_point():
        values = values + 0.0
    return hashlib.sha256(values.view(torch.uint8).numpy().tobytes()).digest()


def _tensors(cond: Condition | None, start: Start | None = None) -> Iterator[Tensor]:
    """What tells rows of one seed apart, each [N, ...]."""
    if cond is not None:
        for part in cond.parts.values():
            yield from (part.value, part.keep, *part.aside.values())
        yield from _tensors(cond.other)
    if start is not None:
        yield from start.tensors()
