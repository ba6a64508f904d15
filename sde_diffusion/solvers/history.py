"""What a multistep solver remembers: earlier predictions and where they were taken."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class History:
    """The last few predictions (denoised images, or noises), newest first; steps left to take.

    ``lam`` holds the half log-SNR at which each was taken.
    """

    values: tuple[Tensor, ...]
    lam: tuple[Tensor, ...]
    left: int

    @classmethod
    def start(cls, times: Tensor) -> History:
        """Nothing remembered yet."""
        return cls((), (), len(times) - 1)

    def push(self, value: Tensor, lam: Tensor, keep: int) -> History:
        """With one more entry, at most ``keep`` in all."""
        return History((value, *self.values)[:keep], (lam, *self.lam)[:keep], self.left)

    def advance(self) -> History:
        """One step further."""
        return History(self.values, self.lam, self.left - 1)
