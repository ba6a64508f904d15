"""What a multistep solver remembers: earlier predictions and where they were taken."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor


@dataclass(frozen=True)
class History:
    """The last few predictions (denoised images, or noises), newest first; steps left to take.

    ``lam`` holds the half log-SNR at which each was taken.
    """

    values: tuple[Tensor, ...]
    lam: tuple[float, ...]
    left: int

    @classmethod
    def start(cls, times: Tensor) -> History:
        """Nothing remembered yet."""
        return cls((), (), len(times) - 1)

    def push(self, value: Tensor, lam: float, keep: int) -> History:
        """With one more entry, at most ``keep`` in all."""
        return History((value, *self.values)[:keep], (lam, *self.lam)[:keep], self.left)

    def newest(self, n: int) -> History:
        """The last ``n`` entries."""
        return replace(self, values=self.values[:n], lam=self.lam[:n])

    def advance(self) -> History:
        """One step further."""
        return replace(self, left=self.left - 1)

    def middle(self, h: float) -> list[tuple[float, Tensor]]:
        """Terms of (1 + 1/2r) D_i - 1/2r D_{i-1}, r = h_{i-1} / h: half a step of length h on.

        D_i alone if nothing is remembered before it.
        """
        if len(self.lam) == 1:
            return [(1.0, self.values[0])]
        r = (self.lam[0] - self.lam[1]) / h
        return [(1 + 0.5 / r, self.values[0]), (-0.5 / r, self.values[1])]
