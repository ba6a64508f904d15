"""What the multistep solvers share: one prediction a step, extrapolated from the last few."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import final

from torch import Tensor

from sde_diffusion.process.noise import Noise
from sde_diffusion.process.sde import Marginal
from sde_diffusion.solvers.base import StepSolver
from sde_diffusion.solvers.history import History
from sde_diffusion.solvers.step import Ask, Step


class Multistep(StepSolver[History]):
    """A solver that moves by its last ``depth`` predictions: write ``move``.

    A prediction is the denoised image, unless ``predict`` says otherwise.
    """

    depth: int
    one_step = False

    def predict(self, ask: Ask, x: Tensor, at: Marginal) -> Tensor:
        """What is remembered of x_t."""
        return ask.denoise(x, at)

    @abstractmethod
    def move(self, ask: Ask, x: Tensor, step: Step, history: History, noise: Noise) -> Tensor:
        """x_t -> x_s; the first entry of ``history`` is the prediction at t."""

    @final
    def init(self, ask: Ask, x: Tensor, steps: Sequence[Step]) -> History:
        return History()

    @final
    def step(
        self, ask: Ask, x: Tensor, step: Step, state: History, noise: Noise
    ) -> tuple[Tensor, History]:
        history = state.push(self.predict(ask, x, step.a), step.a.lam, keep=self.depth)
        return self.move(ask, x, step, history, noise), history
