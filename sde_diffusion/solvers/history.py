"""What a multistep solver remembers: earlier predictions and where they were taken."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class History:
    """The last few predictions (denoised images, or noises), newest first.

    ``lam`` holds the half log-SNR at which each was taken.
    """

    values: tuple[Tensor, ...] = ()
    lam: tuple[float, ...] = ()

    def push(self, value: Tensor, lam: float, keep: int) -> History:
        """With one more entry, at most ``keep`` in all."""
        return History((value, *self.values)[:keep], (lam, *self.lam)[:keep])

    def newest(self, n: int) -> History:
        """The last ``n`` entries."""
        return History(self.values[:n], self.lam[:n])

    def middle(self, h: float) -> list[tuple[float, Tensor]]:
        """Terms of (1 + 1/2r) D_i - 1/2r D_{i-1}, r = h_{i-1} / h: half a step of length h on.

        D_i alone if nothing is remembered before it.
        """
        if len(self.lam) == 1:
            return [(1.0, self.values[0])]
        r = (self.lam[0] - self.lam[1]) / h
        return [(1 + 0.5 / r, self.values[0]), (-0.5 / r, self.values[1])]
