"""What training draws: functions of (seed, step, row), so that a process draws its rows alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import final

import torch
from torch import Tensor

from sde_diffusion.process.noise.draws import Draws
from sde_diffusion.process.noise.streams import Stream

# Steps whose numbers are drawn at once, where they are few: the calls cost, not the numbers.
AHEAD = 8
FEW = 2**15  # of all these steps


@final
class BatchDraws:
    """The random numbers of some rows of the batch of one training step.

    Args:
        seed: of the run.
        step: 0 .. 2^32 - 1.
        rows: which rows of the whole batch, numbered from 0: range(a, b).
        device: where numbers are made.
    """

    def __init__(
        self, seed: int, step: int, rows: range, device: torch.device | str = "cpu"
    ) -> None:
        self.seed, self.step, self.rows = seed, step, rows
        self.draws = _draws(seed, rows, torch.device(device))
        self.device = self.draws.device

    def normal(
        self,
        stream: Stream,
        shape: Sequence[int],
        dtype: torch.dtype = torch.float32,
        part: int = 0,
    ) -> Tensor:
        """Standard normals [B, *shape]; ``part`` tells users of one stream apart."""
        if AHEAD * len(self.rows) * math.prod(shape) > FEW:
            return self.draws.normal(stream, self.step, shape, dtype, part)
        block, place = divmod(self.step, AHEAD)
        own = (self.seed, block, self.rows, self.device)
        return _normals(*own, stream, tuple(shape), dtype, part)[place].clone()

    def uniform(
        self,
        stream: Stream,
        shape: Sequence[int],
        dtype: torch.dtype = torch.float64,
        part: int = 0,
    ) -> Tensor:
        """Uniform on (0, 1), [B, *shape]: masks at rate p are ``uniform(...) < p``."""
        if not shape:
            block, place = divmod(self.step, AHEAD)
            block_values = _uniforms(self.seed, block, self.rows, self.device, stream, dtype, part)
            return block_values[place].clone()
        return self.draws.uniform(stream, self.step, shape, dtype, part)

    def whole(self, stream: Stream, shape: Sequence[int], high: int, part: int = 0) -> Tensor:
        """Whole numbers 0 .. high - 1, int64 [B, *shape]."""
        return self.draws.whole(stream, self.step, shape, high, part)

    def stratified(self, stream: Stream, total: int) -> Tensor:
        """u [B] float64: over a batch of ``total`` rows, one uniform in each total-th of (0, 1).

        At the ``place`` where numbers are made, since not every device knows float64.

        u_i = (pi(i) + v_i) / total, pi a permutation of the strata, kept 1e-6 from the ends, which
        are quantiles of infinite noise for some distributions.
        """
        block, place = divmod(self.step, AHEAD)
        block_values = _strata(self.seed, block, self.rows, self.draws.place, stream, total)
        return block_values[place].clone()


@lru_cache(maxsize=4)
def _draws(seed: int, rows: range, device: torch.device) -> Draws:
    return Draws.of_rows(seed, rows, device)


@lru_cache(maxsize=4)
def _ahead(seed: int, block: int, rows: range, device: torch.device) -> Draws:
    """Of the rows of all steps of a block."""
    return Draws.of_rows(seed, rows, device, _steps(block))


@lru_cache(maxsize=8)
def _normals(
    seed: int,
    block: int,
    rows: range,
    device: torch.device,
    stream: Stream,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    part: int,
) -> Tensor:
    """Normals of the steps of a block, [AHEAD, B, *shape]."""
    ahead = _ahead(seed, block, rows, device).normal(stream, 0, shape, dtype, part)
    return ahead.reshape(AHEAD, len(rows), *shape)


@lru_cache(maxsize=16)
def _uniforms(
    seed: int,
    block: int,
    rows: range,
    device: torch.device,
    stream: Stream,
    dtype: torch.dtype,
    part: int,
) -> Tensor:
    """Uniform numbers of the steps of a block, [AHEAD, B]."""
    draws = _ahead(seed, block, rows, device)
    return draws.uniform(stream, 0, (), dtype, part).reshape(AHEAD, -1)


@lru_cache(maxsize=4)
def _strata(
    seed: int, block: int, rows: range, place: torch.device, stream: Stream, total: int
) -> Tensor:
    """The stratified numbers of the steps of a block, [AHEAD, B]."""
    orders = Draws.of_rows(seed, range(1), place, _steps(block))
    strata = orders.whole(stream, 0, (total,), 2**62).argsort(dim=1, stable=True)
    within = _uniforms(seed, block, rows, place, stream, torch.float64, 0)
    return ((strata[:, rows.start : rows.stop] + within) / total).clamp(1e-6, 1 - 1e-6)


def _steps(block: int) -> range:
    return range(block * AHEAD, (block + 1) * AHEAD)


def permutation(seed: int, stream: Stream, index: int, n: int) -> Tensor:
    """A permutation of 0 .. n - 1, int64 [n]: the order of n whole numbers of 62 bits.

    Args:
        index: of an epoch, or a step.
    """
    keys = Draws.of_rows(seed, range(1)).whole(stream, index, (n,), 2**62)
    return keys[0].argsort(stable=True)  # equal keys, once in 2^62 pairs, keep their order


def derived_seed(seed: int, stream: Stream, index: int) -> int:
    """A seed below 2^62 for a library that draws its own numbers: weights, dropout at a step."""
    block, place = divmod(index, AHEAD)
    return _seeds(seed, block, stream)[place]


@lru_cache(maxsize=4)
def _seeds(seed: int, block: int, stream: Stream) -> list[int]:
    draws = Draws.of_rows(seed, range(1), first=_steps(block))
    return draws.whole(stream, 0, (), 2**62).tolist()
