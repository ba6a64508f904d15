"""Learning-rate schedules: what share of the peak rate an optimizer step takes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Annotated, final

from sde_diffusion.system.identity import Component
from sde_diffusion.system.ranges import Within


class Schedule(Component, ABC, known_as="schedule"):
    """lr_k = lr min(1, k / warmup) decay_k for step k = 1 .. steps."""

    @abstractmethod
    def decay(self, step: int, warmup: int, steps: int) -> float:
        """The share of the peak rate at ``step`` of ``steps``, the warm-up left out; 1 in it."""

    @final
    def share(self, step: int, warmup: int, steps: int) -> float:
        """The share of the peak rate, 0 to 1, warm-up and all."""
        return min(1.0, step / max(1, warmup)) * self.decay(step, warmup, steps)


def _progress(step: int, warmup: int, steps: int) -> float:
    """0 at the end of the warm-up, 1 at the last step."""
    return max(0, step - warmup) / max(1, steps - warmup)


class Cosine(Schedule):
    """Half a cosine from 1 to 0, (1 + cos pi u) / 2 (Loshchilov & Hutter, arXiv:1608.03983)."""

    def decay(self, step: int, warmup: int, steps: int) -> float:
        return 0.5 * (1 + math.cos(math.pi * _progress(step, warmup, steps)))


class Linear(Schedule):
    """1 - u: straight down to 0 at the last step."""

    def decay(self, step: int, warmup: int, steps: int) -> float:
        return 1 - _progress(step, warmup, steps)


class Constant(Schedule):
    """1: as DDPM, score SDE and EDM train; the average of the weights does the rest."""

    def decay(self, step: int, warmup: int, steps: int) -> float:
        return 1.0


class InverseSqrt(Schedule):
    """1 / sqrt(max(1, k / plateau)): constant, then slowly down, whatever ``steps`` is
    (EDM2, arXiv:2312.02696).

    A run may so be prolonged at will, and any of its snapshots stands for a shorter one.

    Args:
        plateau: steps before it falls.
    """

    def __init__(self, plateau: Annotated[int, Within("1 <= plateau <= 1e9")] = 2000) -> None:
        self.plateau = plateau

    def decay(self, step: int, warmup: int, steps: int) -> float:
        return max(1.0, step / self.plateau) ** -0.5
