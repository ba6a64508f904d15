"""The forward map of a rule on a set of noises, with the steps before a change reused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sde_diffusion.calibration.trajectory import Trajectories
from sde_diffusion.condition import Condition
from sde_diffusion.denoiser import Denoiser
from sde_diffusion.solvers.rule import Rule, Start, residual


@dataclass(frozen=True)
class Path:
    """What a rule did: y_0 .. y_n and e_0 .. e_{n-1}, each [N, *shape]."""

    states: tuple[Tensor, ...]
    residuals: tuple[Tensor, ...]

    @property
    def end(self) -> Tensor:
        return self.states[-1]


@dataclass(frozen=True, eq=False)
class Problem:
    """N noises whose converged images are known, and a denoiser to ask.

    Attributes:
        start: the Gaussian flow before the first evaluation, from noise level ``sigma_max``.
        noise, target: y there, and the converged images, [N, *shape].
        heard: is told of the evaluations spent.
    """

    denoiser: Denoiser
    start: Start
    sigma_max: float
    noise: Tensor
    target: Tensor
    cond: Condition | None
    batch_size: int
    heard: Callable[[int], None]

    @classmethod
    def of(
        cls,
        denoiser: Denoiser,
        start: Start,
        known: Trajectories,
        batch_size: int,
        heard: Callable[[int], None],
        device: torch.device | str = "cpu",
    ) -> Problem:
        return cls(
            denoiser, start, float(known.levels[0]), known.noise.to(device),
            known.images.to(device), None if known.cond is None else known.cond.to(device),
            batch_size, heard,
        )  # fmt: skip

    def ask(self, y: Tensor, level: float) -> Tensor:
        """e = (y - D(y, level)) / level [N, *shape], in batches."""
        parts = []
        for first in range(0, len(y), self.batch_size):
            rows = slice(first, first + self.batch_size)
            cond = None if self.cond is None else self.cond[rows]
            parts.append(residual(self.denoiser, y[rows], level, cond))
        self.heard(self.denoiser.cost * len(y))
        return torch.cat(parts)

    def begin(self, level: float) -> Tensor:
        """y_0 [N, *shape] at noise level ``level``."""
        return self.start(self.noise, self.sigma_max, level)

    def walk(self, rule: Rule, known: Path | None = None, keep: int = -1) -> Path:
        """All states of ``rule``; ``known`` is trusted up to state y_keep and residual e_{keep-1},
        and nothing of it if keep is -1."""
        states = [self.begin(float(rule.levels[0]))]
        residuals: list[Tensor] = []
        if known is not None and keep >= 0:
            states, residuals = list(known.states[: keep + 1]), list(known.residuals[:keep])
        for i in range(len(residuals), rule.n):
            residuals.append(self.ask(states[i], float(rule.asked[i])))
            states.append(rule.advance(i, states[i], residuals, None))
        return Path(tuple(states), tuple(residuals))

    def errors(self, end: Tensor) -> Tensor:
        """Root mean square error of each image [N]."""
        return (end - self.target).flatten(1).square().mean(1).sqrt()

    def rmse(self, end: Tensor) -> float:
        """Root mean square error over all images, over the spread of the converged ones."""
        spread = self.target - self.target.mean(0)
        return float((end - self.target).norm() / spread.norm())
