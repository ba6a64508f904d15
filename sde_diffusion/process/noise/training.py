"""What training draws: functions of (seed, step, row), so that a process draws its rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from sde_diffusion.process.noise.draws import Draws
from sde_diffusion.process.noise.streams import Stream


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
        self.draws = Draws.of_rows(seed, rows, device)
        self.device = self.draws.device

    def normal(
        self,
        stream: Stream,
        shape: Sequence[int],
        dtype: torch.dtype = torch.float32,
        part: int = 0,
    ) -> Tensor:
        """Standard normals [B, *shape]; ``part`` tells users of one stream apart."""
        return self.draws.normal(stream, self.step, shape, dtype, part)

    def uniform(
        self,
        stream: Stream,
        shape: Sequence[int],
        dtype: torch.dtype = torch.float64,
        part: int = 0,
    ) -> Tensor:
        """Uniform on (0, 1), [B, *shape]: masks at rate p are ``uniform(...) < p``."""
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
        place = self.draws.place
        strata = permutation(self.seed, stream, self.step, total, place)[self.slice]
        within = Draws.of_rows(self.seed, self.rows, place).uniform(stream, self.step, ())
        return ((strata + within) / total).clamp(1e-6, 1 - 1e-6)

    @property
    def slice(self) -> slice:
        """``rows`` for indexing."""
        return slice(self.rows.start, self.rows.stop, self.rows.step)


def permutation(
    seed: int, stream: Stream, index: int, n: int, device: torch.device | str = "cpu"
) -> Tensor:
    """A permutation of 0 .. n - 1, int64 [n]: the order of n whole numbers of 62 bits.

    Args:
        index: of an epoch, or a step.
    """
    keys = Draws.of_rows(seed, range(1), device).whole(stream, index, (n,), 2**62)
    return keys[0].argsort(stable=True)  # equal keys, once in 2^62 pairs, keep their order


def derived_seed(seed: int, stream: Stream, index: int) -> int:
    """A seed below 2^62 for a library that draws its own numbers: weights, dropout at a step."""
    return int(Draws.of_rows(seed, range(1)).whole(stream, index, (), 2**62))
