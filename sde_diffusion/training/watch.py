"""Which steps are left out, told on the device: the host asks once in a while."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor


@final
@dataclass(frozen=True)
class BadSteps:
    """What the host is told of steps without a finite loss or gradient.

    Attributes:
        step: the last of so many in a row. losses, sigma: of its rows on this process.
    """

    step: int
    losses: list[float]
    sigma: list[float]


@final
class StepWatch:
    """Judges each step where its loss lies, so that a step waits for no device.

    After ``patience`` bad steps in a row none is taken any more, and the rows of the last are kept:
    the host may ask later and is told the same.

    Attributes:
        skipped, failures: bad steps so far, and how many of them are the last ones, int64 [].
        smoothed: running mean of the loss over about 100 steps, []. known: as the host was told.

    Args:
        patience: steps in a row without a finite loss or gradient that end a run.
        device: of the losses.
    """

    def __init__(self, patience: int, device: torch.device | str = "cpu") -> None:
        self.patience = patience
        self.skipped, self.failures, self._last = (
            torch.zeros((), dtype=torch.int64, device=device) for _ in range(3)
        )
        self.smoothed, self.known = torch.full((), math.nan, device=device), math.nan
        self._rows: tuple[Tensor, Tensor] | None = None

    @torch.no_grad()
    def judge(
        self, step: int, value: Tensor, length: Tensor, losses: Tensor, sigma: Tensor
    ) -> Tensor:
        """1 for a step to leave out, else 0, float32 [].

        Args:
            step: its number. value: the mean loss, []. length: of the gradient, [].
            losses, sigma: of the rows [B] of this process.
        """
        over = self.failures >= self.patience
        bad = ~torch.isfinite(value + length) | over
        counted = bad & ~over
        self.skipped = self.skipped + counted
        self.failures = torch.where(bad, self.failures + counted, 0)
        value = value.to(self.smoothed.dtype)
        first = torch.isnan(self.smoothed)
        mean = torch.where(first, value, 0.99 * self.smoothed + 0.01 * value)
        self.smoothed = torch.where(bad, self.smoothed, mean)
        kept = (losses, sigma) if self._rows is None else self._rows
        self._rows = torch.where(over, kept[0], losses), torch.where(over, kept[1], sigma)
        self._last = torch.where(over, self._last, step)
        return bad.to(torch.float32)

    def asked(self) -> BadSteps | None:
        """The last of ``patience`` bad steps in a row, if any; reads the device."""
        self.known = float(self.smoothed)
        if int(self.failures) < self.patience or self._rows is None:
            return None
        losses, sigma = (rows.tolist() for rows in self._rows)
        return BadSteps(int(self._last), losses, sigma)

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        return {
            "smoothed": self.smoothed.double().cpu(),
            "skipped": torch.stack([self.skipped, self.failures]).cpu(),
        }

    def restore(self, smoothed: Tensor, skipped: Tensor) -> None:
        """Inverse of ``tensors``; TypeError, ValueError or RuntimeError if they do not fit."""
        self.known = float(smoothed)
        self.smoothed.fill_(self.known)
        count, failures = skipped.tolist()
        self.skipped.fill_(count)
        self.failures.fill_(failures)
