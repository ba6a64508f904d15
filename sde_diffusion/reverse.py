"""The reverse process: all that a solver may ask of an SDE and a denoiser."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from sde_diffusion.condition import Condition
from sde_diffusion.denoiser import Denoiser
from sde_diffusion.sde import SDE


@final
class Reverse:
    """An SDE with a (guided) denoiser and a condition.

    States are x_t [N, *shape] in the SDE's own scale; times float64, 0-dim or [N].
    """

    def __init__(self, sde: SDE, denoiser: Denoiser, cond: Condition | None = None) -> None:
        self.sde = sde
        self.denoiser = denoiser
        self.cond = cond

    def _column(self, value: Tensor, x: Tensor) -> Tensor:
        """A coefficient ready to multiply x: 0-dim stays, [N] becomes [N, 1, ...]."""
        return value if value.ndim == 0 else value.reshape(-1, *[1] * (x.ndim - 1)).to(x)

    def denoise(self, x: Tensor, t: Tensor) -> Tensor:
        """E[x_0 | x_t = x] = D(x / alpha, sigma / alpha); one evaluation a row."""
        alpha = self.sde.alpha(t)
        return self.denoiser(x / self._column(alpha, x), self.sde.sigma(t) / alpha, self.cond)

    def noise(self, x: Tensor, t: Tensor) -> Tensor:
        """E[n | x_t = x] = (x - alpha D) / sigma."""
        alpha, sigma = self._column(self.sde.alpha(t), x), self._column(self.sde.sigma(t), x)
        return (x - alpha * self.denoise(x, t)) / sigma

    def score(self, x: Tensor, t: Tensor) -> Tensor:
        """grad log p_t(x) = (alpha D - x) / sigma^2 (Tweedie)."""
        return -self.noise(x, t) / self._column(self.sde.sigma(t), x)

    def drift(self, x: Tensor, t: Tensor, eta: float = 0.0) -> Tensor:
        """dx/dt = f x - (1 + eta^2) / 2 g^2 score: eta 0 probability flow, 1 reverse SDE."""
        f, g2 = self._column(self.sde.f(t), x), self._column(self.sde.g2(t), x)
        return f * x - 0.5 * (1 + eta**2) * g2 * self.score(x, t)

    def rows(self, rows: slice | Tensor) -> Reverse:
        """The same process for some rows of the batch (a solver that runs per sample)."""
        cond = None if self.cond is None else self.cond[rows]
        return Reverse(self.sde, self.denoiser, cond)


def as_time(t: float | Tensor) -> Tensor:
    """A time as the float64 0-dim tensor that everything here expects."""
    return torch.as_tensor(t, dtype=torch.float64)
