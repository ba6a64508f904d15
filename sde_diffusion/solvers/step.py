"""A step of a time grid, and all that a solver may ask in it of an SDE and a denoiser."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import final

import torch
from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.process.sde import SDE, Marginal


@dataclass(frozen=True)
class Step:
    """Step i of n, from the marginal a at time t down to b at time s; made once for a grid.

    n counts a denoising that ends the walk after the grid, if there is one.

    Plain numbers, so that nothing in a step reads the device.
    """

    a: Marginal
    b: Marginal
    i: int
    n: int

    @property
    def h(self) -> float:
        """lam_s - lam_t > 0."""
        return self.b.lam - self.a.lam

    @property
    def left(self) -> int:
        """Steps still to take, this one among them."""
        return self.n - self.i

    @property
    def last(self) -> bool:
        """Whether it ends the grid: noise that it added would stay in the picture."""
        return self.left == 1


def walk(sde: SDE, times: Tensor, after: int = 0) -> tuple[Step, ...]:
    """The steps of a grid of decreasing ``times`` [n + 1], float64; ``after`` more follow."""
    pairs = list(pairwise(sde.marginals(times)))
    return tuple(Step(a, b, i, len(pairs) + after) for i, (a, b) in enumerate(pairs))


def times_of(steps: Sequence[Step]) -> Tensor:
    """The grid [n + 1] that ``steps`` walk, float64."""
    return torch.tensor([steps[0].a.t, *(step.b.t for step in steps)], dtype=torch.float64)


@final
class Ask:
    """An SDE with a (guided) denoiser and a condition, along the ``steps`` of a grid.

    States are x_t [N, *shape] in the SDE's own scale. ``denoise``, ``residual``, ``noise``,
    ``score`` and ``drift`` spend one evaluation a row. ``after`` steps follow those of the grid: 1
    where a denoising ends the walk, and so no step of the grid is the last one.
    """

    def __init__(
        self,
        sde: SDE,
        denoiser: Denoiser,
        cond: Condition | None = None,
        steps: Sequence[Step] = (),
        after: int = 0,
    ) -> None:
        self.sde, self.denoiser, self.cond, self.steps = sde, denoiser, cond, steps
        self.after = after
        self._stages: dict[float, list[Marginal]] = {}
        self._slopes: dict[float, tuple[float, float]] = {}

    def along(self, times: Tensor) -> Ask:
        """The same process, about to be walked along ``times`` [n + 1]."""
        steps = walk(self.sde, times, self.after)
        return Ask(self.sde, self.denoiser, self.cond, steps, self.after)

    def through(self, denoiser: Denoiser) -> Ask:
        """The same process along the same steps, asking another denoiser."""
        asked = Ask(self.sde, denoiser, self.cond, self.steps, self.after)
        asked._stages, asked._slopes = self._stages, self._slopes
        return asked

    def rows(self, rows: slice | Tensor) -> Ask:
        """The same process for some rows of the batch (a solver that runs per sample)."""
        return Ask(self.sde, self.denoiser, None if self.cond is None else self.cond[rows])

    def noise_denoised(self, n: Tensor) -> Tensor:
        """D at an infinite noise level, where x_t is the noise n [N, *shape]: one evaluation."""
        return self.denoiser(n, torch.tensor(math.inf, dtype=torch.float64), self.cond)

    def at(self, t: float) -> Marginal:
        """The marginal at any time."""
        return self.sde.marginals(torch.tensor([t], dtype=torch.float64))[0]

    def at_level(self, noise_level: float) -> Marginal:
        """The marginal at a noise level sigma / alpha."""
        return self.at(float(self.sde.time_at(torch.tensor(noise_level, dtype=torch.float64))))

    def between(self, step: Step, share: float) -> Marginal:
        """The marginal at lam = lam_t + share (lam_s - lam_t), where a stage of ``step`` stands.

        Asked once, it is known for all steps of the grid.
        """
        if step.i >= len(self.steps) or self.steps[step.i] is not step:
            return self._between([step], share)[0]
        if share not in self._stages:
            self._stages[share] = self._between(self.steps, share)
        return self._stages[share][step.i]

    def g2(self, at: Marginal) -> float:
        """Squared diffusion g(t)^2 of the SDE."""
        return self._slope(at)[1]

    def denoise(self, x: Tensor, at: Marginal) -> Tensor:
        """E[x_0 | x_t = x] = D(x / alpha, sigma / alpha)."""
        return self._denoise(_image_scale(x, at), at)

    def residual(self, x: Tensor, at: Marginal) -> Tensor:
        """x / alpha - D, which is sigma / alpha times the noise."""
        y = _image_scale(x, at)
        return y - self._denoise(y, at)

    def noise(self, x: Tensor, at: Marginal) -> Tensor:
        """E[n | x_t = x] = (x - alpha D) / sigma."""
        return self.residual(x, at).div_(at.noise_level)

    def score(self, x: Tensor, at: Marginal) -> Tensor:
        """grad log p_t(x) = (alpha D - x) / sigma^2 (Tweedie)."""
        return self.residual(x, at).mul_(-at.alpha / at.sigma**2)

    def drift(self, x: Tensor, at: Marginal, eta: float = 0.0) -> Tensor:
        """dx/dt = f x - (1 + eta^2) / 2 g^2 score: eta 0 probability flow, 1 reverse SDE."""
        f, g2 = self._slope(at)
        return self.score(x, at).mul_(-0.5 * (1 + eta**2) * g2).add_(x, alpha=f)

    def _between(self, steps: Sequence[Step], share: float) -> list[Marginal]:
        ends = torch.tensor([(step.a.t, step.b.t) for step in steps], dtype=torch.float64)
        lam = self.sde.lam(ends)
        return self.sde.marginals(self.sde.time(lam[:, 0] + share * (lam[:, 1] - lam[:, 0])))

    def _slope(self, at: Marginal) -> tuple[float, float]:
        """f and g^2; of all times of the grid when the first is asked for."""
        if not self._slopes and self.steps:
            self._add_slopes([self.steps[0].a.t, *(step.b.t for step in self.steps)])
        if at.t not in self._slopes:
            self._add_slopes([at.t])
        return self._slopes[at.t]

    def _add_slopes(self, times: list[float]) -> None:
        t = torch.tensor(times, dtype=torch.float64)
        slopes = zip(self.sde.f(t).tolist(), self.sde.g2(t).tolist(), strict=True)
        self._slopes |= dict(zip(times, slopes, strict=True))

    def _denoise(self, y: Tensor, at: Marginal) -> Tensor:
        level = torch.tensor(at.noise_level, dtype=torch.float64)
        return self.denoiser(y, level, self.cond)


def _image_scale(x: Tensor, at: Marginal) -> Tensor:
    return x if at.alpha == 1 else x * (1 / at.alpha)
