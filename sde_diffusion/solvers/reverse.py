"""The reverse process: all that a solver may ask of an SDE and a denoiser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Generic, TypeVar, final

import torch
from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.process.sde import SDE, Marginal

Value = TypeVar("Value")


@final
class Reverse:
    """An SDE with a (guided) denoiser and a condition.

    States are x_t [N, *shape] in the SDE's own scale; times float64, 0-dim. ``times`` is the grid
    that a solver is about to walk, whose coefficients are then computed all at once.
    """

    def __init__(
        self,
        sde: SDE,
        denoiser: Denoiser,
        cond: Condition | None = None,
        times: Tensor | None = None,
    ) -> None:
        self.sde = sde
        self.denoiser = denoiser
        self.cond = cond
        grid = torch.empty(0, dtype=torch.float64) if times is None else times
        self._grid = grid
        self._marginal = Table(sde.marginals, grid)
        self._stages: dict[float, dict[tuple[float, float], Tensor]] = {}
        self._f = Table(lambda t: sde.f(t).tolist(), grid)
        self._g2 = Table(lambda t: sde.g2(t).tolist(), grid)

    def at(self, t: Tensor) -> Marginal:
        """The marginal of x_t, as Python numbers."""
        return self._marginal(t)

    def between(self, t: Tensor, s: Tensor, share: float) -> Tensor:
        """The time at lam = lam_t + share (lam_s - lam_t), where a stage of a step t -> s stands.

        Asked once, it is known for all steps of the grid.
        """
        if share not in self._stages:
            self._stages[share] = self._stage(list(pairwise(self._grid.tolist())), share)
        known, ends = self._stages[share], (float(t), float(s))
        if ends not in known:
            known |= self._stage([ends], share)
        return known[ends]

    def g2(self, t: Tensor) -> float:
        """Squared diffusion g(t)^2 of the SDE."""
        return self._g2(t)

    def denoise(self, x: Tensor, t: Tensor) -> Tensor:
        """E[x_0 | x_t = x] = D(x / alpha, sigma / alpha); one evaluation a row."""
        return self._denoise(self._image_scale(x, t), t)

    def residual(self, x: Tensor, t: Tensor) -> Tensor:
        """x / alpha - D, which is sigma / alpha times the noise."""
        y = self._image_scale(x, t)
        return y - self._denoise(y, t)

    def noise(self, x: Tensor, t: Tensor) -> Tensor:
        """E[n | x_t = x] = (x - alpha D) / sigma."""
        return self.residual(x, t).div_(self.at(t).noise_level)

    def score(self, x: Tensor, t: Tensor) -> Tensor:
        """grad log p_t(x) = (alpha D - x) / sigma^2 (Tweedie)."""
        at = self.at(t)
        return self.residual(x, t).mul_(-at.alpha / at.sigma**2)

    def drift(self, x: Tensor, t: Tensor, eta: float = 0.0) -> Tensor:
        """dx/dt = f x - (1 + eta^2) / 2 g^2 score: eta 0 probability flow, 1 reverse SDE."""
        weight = -0.5 * (1 + eta**2) * self.g2(t)
        return self.score(x, t).mul_(weight).add_(x, alpha=self._f(t))

    def _stage(
        self, steps: list[tuple[float, float]], share: float
    ) -> dict[tuple[float, float], Tensor]:
        lam = self.sde.lam(torch.tensor(steps, dtype=torch.float64).reshape(-1, 2))
        stages = self.sde.time(lam[:, 0] + share * (lam[:, 1] - lam[:, 0]))
        self._marginal.add(stages)
        return dict(zip(steps, stages, strict=True))

    def _image_scale(self, x: Tensor, t: Tensor) -> Tensor:
        alpha = self.at(t).alpha
        return x if alpha == 1 else x * (1 / alpha)

    def _denoise(self, y: Tensor, t: Tensor) -> Tensor:
        level = torch.tensor(self.at(t).noise_level, dtype=torch.float64)
        return self.denoiser(y, level, self.cond)

    def rows(self, rows: slice | Tensor) -> Reverse:
        """The same process for some rows of the batch (a solver that runs per sample)."""
        cond = None if self.cond is None else self.cond[rows]
        return Reverse(self.sde, self.denoiser, cond)

    def on(self, times: Tensor) -> Reverse:
        """The same process, about to be walked along ``times`` [n]."""
        return Reverse(self.sde, self.denoiser, self.cond, times)


class Table(Generic[Value]):
    """A function of time as Python numbers: computed over a grid at once, then looked up.

    One operation on a 0-dim tensor takes as long as a tenth of a pass over a batch of small images.
    """

    def __init__(self, fn: Callable[[Tensor], Sequence[Value]], grid: Tensor) -> None:
        self.fn, self.grid = fn, grid
        self.known: dict[float, Value] = {}

    def __call__(self, t: Tensor) -> Value:
        if not self.known:
            self.add(self.grid)
        key = float(t)
        if key not in self.known:
            self.add(t.reshape(1))
        return self.known[key]

    def add(self, times: Tensor) -> None:
        """Compute its values at ``times`` [n]."""
        self.known.update(zip(times.tolist(), self.fn(times), strict=True))
