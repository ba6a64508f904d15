"""Noise of a host's own generators, drawn as the host would draw it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.process.noise import Noise, checked_seeds

Generators = torch.Generator | Sequence[torch.Generator] | None


@final
class HostNoise(Noise):
    """Normals from ``draw``, one after the other.

    A copy draws the same numbers again: a step that is run twice sees the same noise.

    Args:
        draw: the next normals of a batch [N, *shape]; of a step t -> s where it knows the step.
        rows: N.
    """

    def __init__(self, draw: Callable[[float, float], Tensor], rows: int) -> None:
        self.draw, self.rows = draw, rows
        self.drawn: list[Tensor] = []
        self.next = 0

    def normal(self, t: float, s: float) -> Tensor:
        if self.next == len(self.drawn):
            self.drawn.append(self.draw(t, s))
        self.next += 1
        return self.drawn[self.next - 1]

    def fresh(self) -> Tensor:
        return self.normal(0.0, 0.0)

    def entropy(self) -> list[int]:
        return [int(torch.randint(2**62, ())) for _ in range(self.rows)]


def seeds_of(asked: int | Sequence[int], rows: int) -> list[int]:
    """One seed a row: those given, or consecutive ones from the first; InputError for others."""
    seeds = checked_seeds(range(asked, asked + rows) if isinstance(asked, int) else asked)
    if len(seeds) != rows:
        raise InputError(f"seeds: {len(seeds)} for a batch of {rows}; give one a row")
    return seeds


def drawn_by(generators: Generators, like: Tensor) -> Callable[[float, float], Tensor]:
    """Normals [N, *shape] of torch's generators: one, one a row, or the global one.

    Made where the generator lives, and in the dtype of ``like``, as diffusers makes them.
    """
    if isinstance(generators, torch.Generator) or generators is None:
        place = like.device if generators is None else generators.device
        shape = like.shape

        def one(t: float, s: float) -> Tensor:
            return torch.randn(shape, generator=generators, device=place, dtype=like.dtype).to(
                like.device
            )

        return one
    each = list(generators)

    def rows(t: float, s: float) -> Tensor:
        shape = like.shape[1:]
        drawn = [torch.randn(shape, generator=g, device=g.device, dtype=like.dtype) for g in each]
        return torch.stack([row.to(like.device) for row in drawn])

    return rows
