"""What the multistep solvers share: one prediction a step, extrapolated from the last few."""

from __future__ import annotations

from abc import abstractmethod
from typing import final

from torch import Tensor

from sde_diffusion.process.noise import Noise
from sde_diffusion.solvers.base import StepSolver
from sde_diffusion.solvers.history import History
from sde_diffusion.solvers.reverse import Reverse


class Multistep(StepSolver[History]):
    """A solver that moves by its last ``depth`` predictions: write ``move``.

    A prediction is the denoised image, unless ``predict`` says otherwise.
    """

    depth: int
    one_step = False

    def predict(self, reverse: Reverse, x: Tensor, t: Tensor) -> Tensor:
        """What is remembered of x_t."""
        return reverse.denoise(x, t)

    @abstractmethod
    def move(
        self, reverse: Reverse, x: Tensor, t: Tensor, s: Tensor, history: History, noise: Noise
    ) -> Tensor:
        """x_t -> x_s; the first entry of ``history`` is the prediction at t."""

    @final
    def init(self, reverse: Reverse, x: Tensor, times: Tensor) -> History:
        return History.start(times)

    @final
    def step(
        self, reverse: Reverse, x: Tensor, t: Tensor, s: Tensor, state: History | None, noise: Noise
    ) -> tuple[Tensor, History]:
        assert state is not None
        history = state.push(self.predict(reverse, x, t), reverse.at(t).lam, keep=self.depth)
        return self.move(reverse, x, t, s, history, noise), history.advance()
