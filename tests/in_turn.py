"""The noise of another program, as it drew it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sde_diffusion.process.noise import Noise, NoiseSource


class InTurn(Noise, NoiseSource):
    """What ``draw`` gives, one after the other, for all rows at once and whatever the seeds.

    Args:
        draw: the next draw [N, *shape]. start: how many come before those of a walk.
    """

    def __init__(self, draw: Callable[[], Tensor], start: int = 0) -> None:
        self.draw, self.dtype = draw, torch.float32
        self.before = [draw() for _ in range(start)]

    def batch(
        self,
        seeds: Sequence[int],
        shape: Sequence[int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Noise:
        self.dtype = dtype
        return self

    def fresh(self) -> Tensor:
        return self.draw().to(self.dtype)

    def normal(self, t: float, s: float) -> Tensor:
        return self.fresh()

    def entropy(self) -> list[int]:
        raise AssertionError("no library draws here")
