"""What a network sees in training step k: a function of (seed, k) alone.

Any step can be drawn without the ones before it, so a resumed run takes the very steps that an
uninterrupted one would have taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from sde_diffusion.conditions.condition import Condition, Part
from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.images.pixels import to_float
from sde_diffusion.training.augment import Augment, AugmentChain
from sde_diffusion.training.levels import NoiseLevels

# Purposes of random numbers: streams of one seed that never meet.
WEIGHTS, ORDER, NOISE, DROPOUT, AUGMENT = range(5)


def derive(seed: int, purpose: int, index: int) -> int:
    """The seed of one stream: of purpose ``purpose``, at step or epoch ``index``."""
    return int(np.random.SeedSequence((seed, purpose, index)).generate_state(1)[0])


@dataclass(frozen=True)
class Batch:
    """x_0 [B, *shape], noise levels sigma [B], standard normal noise [B, *shape], conditions."""

    x_0: Tensor
    sigma: Tensor
    noise: Tensor
    cond: Condition | None

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> Batch:
        cond = None if self.cond is None else self.cond.to(device)
        x_0, sigma, noise = (t.to(device, dtype) for t in (self.x_0, self.sigma, self.noise))
        return Batch(x_0, sigma, noise, cond)

    def split(self, parts: int) -> list[Batch]:
        """``parts`` batches of as many rows each, one after the other."""
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
    generator = torch.Generator().manual_seed(derive(seed, ORDER, epoch))
    return torch.randperm(total, generator=generator)


def stratified(n: int, generator: torch.Generator) -> Tensor:
    """u [n], shuffled, one uniform draw in each of the n equal parts of (0, 1)."""
    u = (torch.arange(n) + torch.rand(n, generator=generator)) / n
    # The ends are quantiles of infinite noise for some distributions.
    return u[torch.randperm(n, generator=generator)].clamp(1e-6, 1 - 1e-6)


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


def draw_batch(
    step: int,
    data: ImageSet,
    levels: NoiseLevels,
    batch_size: int,
    label_dropout: float,
    seed: int,
    augment: Augment | None = None,
    part: tuple[int, int] = (0, 1),
) -> Batch:
    """The batch of step 1, 2, ..., on the CPU; conditions are dropped at rate ``label_dropout``.

    ``part`` = (rank, world): only the rows of that process, with the very values that they have
    in the whole batch. Random numbers are drawn for all rows, as streams cannot be entered
    midway; images are fetched, converted and augmented for the process's own rows alone.
    """
    own = part_of(batch_size, part)
    rows = rows_of(step, len(data), batch_size, seed)[own]
    generator = torch.Generator().manual_seed(derive(seed, NOISE, step))
    x_0 = to_float(data.images[rows])
    sigma = levels.sigma(stratified(batch_size, generator)[own])
    noise = torch.randn((batch_size, *x_0.shape[1:]), generator=generator)[own]
    drop = torch.rand(batch_size, generator=generator)[own] < label_dropout
    augment = augment or AugmentChain()
    drawn = augment.draw(batch_size, torch.Generator().manual_seed(derive(seed, AUGMENT, step)))
    x_0, changes = augment.apply(x_0, drawn[own])
    return Batch(x_0, sigma, noise, _condition(data, rows, drop, changes))


def _condition(
    data: ImageSet, rows: Tensor, drop: Tensor, changes: dict[str, Tensor]
) -> Condition | None:
    """Labels, dropped where ``drop`` says, and what augmentation did: never dropped."""
    parts = {name: Part.of(value, fixed=True) for name, value in changes.items()}
    if data.labels is not None:
        parts |= Condition.label(data.labels[rows]).dropped(drop).parts
    return Condition(parts) if parts else None
