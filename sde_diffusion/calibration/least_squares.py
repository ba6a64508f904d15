"""The forward map of a rule on a set of noises, with the steps before a change reused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sde_diffusion.calibration.trajectory import Trajectories
from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.solvers.calibrated.normal import Normal, NormalRows
from sde_diffusion.solvers.calibrated.rule import Residuals, Rule

KNEE = 2.0  # medians of the errors


def huber_weights(errors: Tensor, knee: Tensor) -> Tensor:
    """What least squares gives an image [N] to minimise Huber's loss: 1, knee / error beyond."""
    return torch.where(errors > knee, knee / errors, 1.0)


@dataclass(frozen=True)
class Path:
    """What a rule did: y_0 .. y_n, and the answers to all but the last, each [N, *shape]."""

    states: tuple[Tensor, ...]
    seen: Residuals

    @property
    def end(self) -> Tensor:
        return self.states[-1]

    def __getitem__(self, rows: slice) -> Path:
        return Path(tuple(y[rows] for y in self.states), self.seen[rows])

    def __add__(self, other: Path) -> Path:
        """Of the noises of both."""
        pairs = zip(self.states, other.states, strict=True)
        return Path(tuple(torch.cat(pair) for pair in pairs), self.seen.beside(other.seen))


@dataclass(frozen=True, eq=False)
class LeastSquares:
    """N noises whose converged images are known, and a denoiser to ask.

    Attributes:
        normal: the law whose flow goes before the first evaluation, from noise level ``sigma_max``.
        noise, target: y there, and the converged images, [N, *shape].
        heard: is told of the evaluations spent.
    """

    denoiser: Denoiser
    normal: NormalRows
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
        normal: Normal,
        known: Trajectories,
        batch_size: int,
        heard: Callable[[int], None],
        device: torch.device | str = "cpu",
    ) -> LeastSquares:
        normal.check(known.cond)
        noise = known.noise.to(device)
        cond = None if known.cond is None else known.cond.to(device)
        return cls(
            denoiser,
            normal.rows(noise, cond),
            float(known.levels[0]),
            noise,
            known.images.to(device),
            cond,
            batch_size,
            heard,
        )

    def __getitem__(self, rows: slice) -> LeastSquares:
        cond = None if self.cond is None else self.cond[rows]
        return replace(
            self,
            normal=self.normal[rows],
            noise=self.noise[rows],
            target=self.target[rows],
            cond=cond,
        )

    def ask(self, rule: Rule, i: int, y: Tensor) -> Residuals:
        """The answers to y_i [N, *shape], in batches."""
        parts = []
        for first in range(0, len(y), self.batch_size):
            rows = slice(first, first + self.batch_size)
            cond = None if self.cond is None else self.cond[rows]
            parts.append(rule.ask(i, y[rows], self.denoiser, self.normal[rows], cond))
        self.heard(self.denoiser.cost * len(y))
        return Residuals(
            (torch.cat([part.residuals[0] for part in parts]),),
            () if rule.normal is None else (torch.cat([part.normals[0] for part in parts]),),
        )

    def begin(self, level: float) -> Tensor:
        """y_0 [N, *shape] at noise level ``level``."""
        return self.normal.flow(self.noise, self.sigma_max, level)

    def walk(self, rule: Rule, known: Path | None = None, keep: int = -1) -> Path:
        """All states of ``rule``; ``known`` is trusted up to state y_keep and the answers before
        it, and nothing of it if keep is -1."""
        states, seen = [self.begin(float(rule.levels[0]))], Residuals()
        if known is not None and keep >= 0:
            states, seen = list(known.states[: keep + 1]), known.seen.first(keep)
        for i in range(len(seen.residuals), rule.n):
            seen = seen + self.ask(rule, i, states[i])
            states.append(rule.advance(i, states[i], seen, None))
        return Path(tuple(states), seen)

    def errors(self, end: Tensor) -> Tensor:
        """Root mean square error of each image [N]."""
        return (end - self.target).flatten(1).square().mean(1).sqrt()

    def knee(self, end: Tensor) -> Tensor:
        """Where Huber's loss turns linear."""
        return KNEE * self.errors(end).median()

    def huber(self, end: Tensor, knee: Tensor | None = None) -> float:
        """Mean over images of r^2, or knee (2 r - knee) beyond the knee, r the error of an image.

        An image that a few evaluations cannot reach is kept from ruling the fit.
        """
        r = self.errors(end)
        k = self.knee(end) if knee is None else knee
        return float(torch.where(r < k, r**2, k * (2 * r - k)).double().mean())

    def rmse(self, end: Tensor) -> float:
        """Root mean square error over all images, over the spread of the converged ones."""
        spread = self.target - self.target.mean(0)
        return float((end - self.target).norm() / spread.norm())
