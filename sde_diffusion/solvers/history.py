"""What a multistep solver remembers: earlier denoised images and where they were taken."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class History:
    """The last few denoised images, newest first, with their half log-SNR; steps left to take."""

    denoised: tuple[Tensor, ...]
    lam: tuple[Tensor, ...]
    left: int

    @classmethod
    def start(cls, times: Tensor) -> History:
        """Nothing remembered yet."""
        return cls((), (), len(times) - 1)

    def push(self, denoised: Tensor, lam: Tensor, keep: int) -> History:
        """With one more entry, at most ``keep`` in all."""
        return History((denoised, *self.denoised)[:keep], (lam, *self.lam)[:keep], self.left)

    def advance(self) -> History:
        """One step further."""
        return History(self.denoised, self.lam, self.left - 1)
