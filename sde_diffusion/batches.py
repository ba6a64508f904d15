"""What a network sees in training step k: a function of (seed, k) alone.

Any step can be drawn without the ones before it, so a resumed run takes the very steps that an
uninterrupted one would have taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sde_diffusion.condition import Condition
from sde_diffusion.data.images import ImageSet, to_float
from sde_diffusion.levels import NoiseLevels

# Purposes of random numbers: streams of one seed that never meet.
WEIGHTS, ORDER, NOISE, DROPOUT = range(4)


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


def rows_of(step: int, total: int, batch_size: int, seed: int) -> Tensor:
    """Row numbers [B] of step 1, 2, ...: one shuffled pass over ``total`` rows after another."""
    position, end = (step - 1) * batch_size, step * batch_size
    parts: list[Tensor] = []
    while position < end:
        epoch, offset = divmod(position, total)
        generator = torch.Generator().manual_seed(derive(seed, ORDER, epoch))
        order = torch.randperm(total, generator=generator)
        parts.append(order[offset : offset + end - position])
        position += len(parts[-1])
    return torch.cat(parts)


def stratified(n: int, generator: torch.Generator) -> Tensor:
    """u [n], shuffled, one uniform draw in each of the n equal parts of (0, 1)."""
    u = (torch.arange(n) + torch.rand(n, generator=generator)) / n
    # The ends are quantiles of infinite noise for some distributions.
    return u[torch.randperm(n, generator=generator)].clamp(1e-6, 1 - 1e-6)


def draw_batch(
    step: int,
    data: ImageSet,
    levels: NoiseLevels,
    batch_size: int,
    label_dropout: float,
    seed: int,
) -> Batch:
    """The batch of step 1, 2, ..., on the CPU; conditions are dropped at rate ``label_dropout``."""
    rows = rows_of(step, len(data), batch_size, seed)
    generator = torch.Generator().manual_seed(derive(seed, NOISE, step))
    x_0 = to_float(data.images[rows])
    sigma = levels.sigma(stratified(batch_size, generator))
    noise = torch.randn(x_0.shape, generator=generator)
    drop = torch.rand(batch_size, generator=generator) < label_dropout
    cond = None if data.labels is None else Condition.label(data.labels[rows]).dropped(drop)
    return Batch(x_0, sigma, noise, cond)
