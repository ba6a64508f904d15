"""Brownian paths drawn where adaptive solvers ask, and remembered where they refuse."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sde_diffusion.process.noise.draws import Draws
from sde_diffusion.process.noise.streams import Stream


class RevealedPath:
    """W of N rows, each at its own clock, which only goes forward.

    A question beyond all that a row knows of its future extends its path by a new normal; one
    before something known is answered from the bridge between its neighbours. What was drawn
    stays known until the row has passed it. So a solver that refuses a step goes on along the same
    path: drawn anew, paths would be biased towards calm ones (rejection sampling with memory,
    Rackauckas & Nie 2017). Question k takes draw k of a row's own seed: a row's path depends on no
    other row.

    The known points of all rows are one table of slots; slot 0 is where the row stands, an empty
    slot has an infinite clock. The table lies where the clocks lie, the values on ``device``.
    Nothing is read if ``ahead`` is told how many points are known.

    Args:
        seeds: one a row, such as ``Noise.entropy()``.
        shape: of a row.
        clock: float64 [N], where the rows start, with W = 0.
        device: of the values, one that knows float64.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        shape: Sequence[int],
        clock: Tensor,
        device: torch.device | str = "cpu",
    ) -> None:
        self.draws, self.shape = Draws.of_seeds(seeds, device), tuple(shape)
        self.rows = torch.arange(self.draws.count, device=clock.device)
        self.clocks = clock.double()[None].clone()
        self.size = math.prod(self.shape)
        self.values = torch.zeros(
            1, self.draws.count, self.size, dtype=torch.float64, device=device
        )
        self.questions = 0
        self.asked = self.clocks[0], self.values[0]

    def ahead(self, clock: Tensor, known: int | None = None) -> Tensor:
        """W(clock) - W(now), float64 [N, *shape].

        Args:
            clock: float64 [N], not before the row's own, or W is not a number.
            known: the largest number of points that a row knows, 1 at first, then the largest that
                ``advance`` returns; counted, which reads the clocks, if it is not told.
        """
        if (self._largest() if known is None else known) == len(self.clocks):
            self.clocks = torch.cat([self.clocks, torch.full_like(self.clocks, math.inf)])
            self.values = torch.cat([self.values, torch.zeros_like(self.values)])
        passed = self.clocks <= clock
        before, left = torch.where(passed, self.clocks, -math.inf).max(0)
        after, right = torch.where(passed, math.inf, self.clocks).min(0)
        part = (clock - before) / (after - before)  # 0 where nothing is known beyond
        variance = (clock - before) * torch.where(after < math.inf, 1 - part, 1.0)
        right = torch.where(after < math.inf, right, left)
        w = self._at(left)
        w += self._column(part) * (self._at(right) - w)
        z = self.draws.normal(Stream.REVEALED, self.questions, (self.size,))
        w += self._column(variance.sqrt()) * z
        self.questions += 1
        self._remember(torch.where(clock > before, clock, math.inf), w)
        self.asked = clock, w
        return (w - self.values[0]).reshape(len(w), *self.shape)

    def advance(self, kept: Tensor) -> Tensor:
        """Rows ``kept`` [N], bool, now stand where they last asked, and forget what lies behind.

        Returns how many points each row knows, [N] where the clocks lie.
        """
        clock, w = self.asked
        now = torch.where(kept, clock, self.clocks[0])
        self.clocks = torch.where(self.clocks <= now, math.inf, self.clocks)
        self.clocks[0] = now
        self.values[0] = torch.where(kept.to(w.device)[:, None], w, self.values[0])
        return self._known()

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with some of the rows alone, in this order."""
        left = torch.tensor(rows, dtype=torch.int64, device=self.clocks.device)
        self.draws, self.rows = self.draws.some(rows), torch.arange(len(rows), device=left.device)
        clock, w = self.asked
        self.clocks, self.values = self.clocks[:, left], self.values[:, left.to(w.device)]
        self.asked = clock[left], w[left.to(w.device)]

    def _known(self) -> Tensor:
        """How many points each row knows, [N]."""
        return self.clocks.isfinite().sum(0)

    def _largest(self) -> int:
        return int(self._known().max()) if self.draws.count else 0

    def _at(self, slot: Tensor) -> Tensor:
        """Values [N, D] of one slot a row."""
        place = self.values.device
        return self.values[slot.to(place), self.rows.to(place)]

    def _remember(self, clock: Tensor, w: Tensor) -> None:
        """In the first empty slot of each row; an infinite clock leaves it empty."""
        slot = self.clocks.argmax(0)
        self.clocks[slot, self.rows] = clock
        self.values[slot.to(w.device), self.rows.to(w.device)] = w

    def _column(self, numbers: Tensor) -> Tensor:
        """[N] -> [N, 1] beside the values."""
        return numbers.to(self.values.device)[:, None]
