"""What a denoiser was asked and what it answered: the material of an animation, at no cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.denoisers.wrapper import Wrapper


@dataclass(frozen=True)
class Calls:
    """K calls of a denoiser, each on the same N samples.

    Attributes:
        levels: noise levels sigma / alpha [K], float64.
        asked: x_t / alpha_t [K, N, *shape], on the CPU.
        answered: D(x_t / alpha_t, level) [K, N, *shape], on the CPU.
    """

    levels: Tensor
    asked: Tensor
    answered: Tensor

    @classmethod
    def join(cls, parts: Sequence[Calls | None]) -> Calls | None:
        """The batches beside each other; None unless all were asked at the same levels."""
        calls = [part for part in parts if part is not None]
        if not calls or len(calls) < len(parts):
            return None
        if any(not torch.equal(part.levels, calls[0].levels) for part in calls):
            return None
        asked = torch.cat([part.asked for part in calls], dim=1)
        return cls(calls[0].levels, asked, torch.cat([part.answered for part in calls], dim=1))


@final
class Recorder(Wrapper):
    """``inner``, with its calls on the first ``rows`` of a batch kept; asks nothing itself."""

    def __init__(self, inner: Denoiser, rows: int) -> None:
        super().__init__(inner)
        self.rows = rows
        self._size: int | None = None
        self._whole = True
        self._calls: list[tuple[Tensor, Tensor, Tensor]] = []

    def forward(self, x: Tensor, sigma: Tensor, cond: Condition | None = None) -> Tensor:
        answer = self.inner(x, sigma, cond)
        self._size = self._size or len(x)
        # A solver with its own steps for each sample asks about some rows, each at its own level.
        self._whole = self._whole and len(x) == self._size and sigma.ndim == 0
        if self._whole:
            kept = x[: self.rows].cpu().clone(), answer[: self.rows].cpu().clone()
            self._calls.append((sigma.cpu(), *kept))
        else:
            self._calls.clear()
        return answer

    @property
    def calls(self) -> Calls | None:
        """The calls so far; None if they were not all on the whole batch at one level."""
        if not self._calls:
            return None
        levels, asked, answered = zip(*self._calls, strict=True)
        return Calls(torch.stack(levels), torch.stack(asked), torch.stack(answered))
