"""What a network sees in training step k: a function of (seed, k) alone.

Any step can be drawn without the ones before it, so a resumed run takes the very steps that an
uninterrupted one would have taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import final

import torch
from torch import Tensor

from sde_diffusion.conditions.condition import LABEL, Condition, Part
from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.images.pixels import to_float
from sde_diffusion.process.noise import BatchDraws, Stream, permutation
from sde_diffusion.system.devices import sent
from sde_diffusion.training.augment import Augment, AugmentChain
from sde_diffusion.training.given import SIDES, condition_of
from sde_diffusion.training.levels import NoiseLevels

# Their draws are told apart by these numbers.
PARTS = (LABEL, *SIDES)


@dataclass(frozen=True)
class Batch:
    """x_0 [B, *shape], noise levels sigma [B], standard normal noise [B, *shape], conditions."""

    x_0: Tensor
    sigma: Tensor
    noise: Tensor
    cond: Condition | None

    def split(self, parts: int) -> list[Batch]:
        """``parts`` batches of as many rows each, one after the other."""
        if parts == 1:
            return [self]
        pieces = []
        for i in range(parts):
            rows = part_of(len(self.x_0), (i, parts))
            cond = None if self.cond is None else self.cond[rows]
            pieces.append(Batch(self.x_0[rows], self.sigma[rows], self.noise[rows], cond))
        return pieces


def rows_of(step: int, total: int, batch_size: int, seed: int) -> Tensor:
    """Row numbers [B] of step 1, 2, ...: one shuffled pass over ``total`` rows after another."""
    position, end = (step - 1) * batch_size, step * batch_size
    parts: list[Tensor] = []
    while position < end:
        epoch, offset = divmod(position, total)
        parts.append(_order(total, seed, epoch)[offset : offset + end - position])
        position += len(parts[-1])
    return torch.cat(parts)


@lru_cache(maxsize=2)
def _order(total: int, seed: int, epoch: int) -> Tensor:
    """The shuffled rows of one pass, kept: a step that straddles two passes needs both."""
    return permutation(seed, Stream.ORDER, epoch, total)


def part_of(batch_size: int, part: tuple[int, int]) -> slice:
    """The rows of a batch that process ``rank`` of ``world`` works on, part = (rank, world)."""
    rank, world = part
    if batch_size % world:
        raise InputError(
            f"batch_size={batch_size}: give a multiple of {world}, the number of processes "
            "times that of accumulated parts"
        )
    n = batch_size // world
    return slice(rank * n, (rank + 1) * n)


@final
@dataclass(frozen=True, eq=False)
class Batches:
    """The batches of a run, each drawn without the ones before it.

    Args:
        data: what is trained on. levels: of the noise.
        batch_size: rows of a batch, over all processes.
        dropout: by the name of a part, the rate at which it is dropped.
        seed: of the run. augment: what changes the images.
    """

    data: ImageSet
    levels: NoiseLevels
    batch_size: int
    dropout: Mapping[str, float]
    seed: int
    augment: Augment = field(default_factory=AugmentChain)

    def draw(
        self,
        step: int,
        part: tuple[int, int] = (0, 1),
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Batch:
        """The rows of batch ``step`` = 1, 2, ... that process ``part`` = (rank, world) works on.

        They have the very values that they have in the whole batch. Images go to the device as
        they are kept; all that is drawn is drawn there, for these rows alone.
        """
        own = part_of(self.batch_size, part)
        rows = rows_of(step, len(self.data), self.batch_size, self.seed)[own]
        draws = BatchDraws(self.seed, step, range(own.start, own.stop), device)
        x_0 = to_float(sent(self.data.images[rows], device))
        sigma = self.levels.sigma(draws.stratified(Stream.LEVELS, self.batch_size))
        noise = draws.normal(Stream.NOISE, x_0.shape[1:], dtype)
        x_0, changes = self.augment(x_0, draws)
        cond = self._condition(rows, draws, changes)
        return Batch(x_0.to(dtype), sigma.to(device, dtype), noise, cond)

    def _condition(
        self, rows: Tensor, draws: BatchDraws, changes: dict[str, Tensor]
    ) -> Condition | None:
        """What the data have, each part dropped at its rate, and what augmentation did: never."""
        parts = {name: Part.of(value, fixed=True) for name, value in changes.items()}
        cond = condition_of(self.data, rows, draws.device)
        for name, part in ({} if cond is None else cond.parts).items():
            u = draws.uniform(Stream.LABELS, (), torch.float32, PARTS.index(name))
            parts[name] = part.dropped(u < self.dropout[name])
        return Condition(parts) if parts else None
