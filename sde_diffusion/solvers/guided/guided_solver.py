"""What a guided solver is: another solver, whose denoiser answers for both sides of a condition."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, TypeVar, final

from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.denoisers.wrapper import Wrapper
from sde_diffusion.errors import InputError
from sde_diffusion.guidance.pair import pair
from sde_diffusion.process.grids import TimeGrid
from sde_diffusion.process.noise import Noise
from sde_diffusion.solvers.base import StepSolver
from sde_diffusion.solvers.step import Ask, Step
from sde_diffusion.system.names import name_of

Memory = TypeVar("Memory")


class Answer(Wrapper, Generic[Memory]):
    """A denoiser that answers in ``inner``'s place within one step; a call may change ``memory``.

    Args:
        inner: what it asks. step: the step that is taken. memory: of the calls so far.
        name: of the solver, for messages.
    """

    def __init__(self, inner: Denoiser, step: Step, memory: Memory, name: str) -> None:
        super().__init__(inner)
        self.step, self.memory, self.name = step, memory, name

    @final
    def sides(self, x: Tensor, sigma: Tensor, cond: Condition | None) -> tuple[Tensor, Tensor]:
        """D(x, c) and D(x, empty), each [N, *shape], asked as one batch."""
        return pair(self.inner, x, sigma, cond, self.name)


class GuidedSolver(StepSolver[tuple[Any, Memory]], Generic[Memory]):
    """``inner``, whose calls are answered by ``answer``: two evaluations in the place of one.

    No order: what it aims at may depend on the number of steps. A denoising that ends the walk
    (``denoise_last``) is that of the condition alone.

    Args:
        inner: a solver of fixed steps.
    """

    asks_empty = True
    order = None
    linear = False
    typed = ""  # what its choice is called, where that is not the class's name in small letters

    def __init__(self, inner: StepSolver[Any]) -> None:
        if inner.adaptive or inner.stays or inner.asks_empty:
            raise InputError(
                f"solver.inner={type(inner).__name__}: give a solver of fixed steps that leaves "
                "the guidance to others, such as ddim or dpmpp_2m"
            )
        self.inner = inner
        self.evaluations, self.saved = 2 * inner.evaluations, 2 * inner.saved
        self.stochastic, self.one_step = inner.stochastic, inner.one_step
        self.couples_batch, self.covariant = inner.couples_batch, inner.covariant
        self.papers = (*type(self).papers, *inner.papers)

    @staticmethod
    def of_one_step(inner: StepSolver[Any]) -> StepSolver[Any]:
        """``inner``; InputError unless it is deterministic and remembers no step."""
        if inner.stochastic or not inner.one_step:
            raise InputError(
                f"solver.inner={type(inner).__name__}: give a deterministic solver of fixed steps "
                "that remembers none, such as ddim or heun"
            )
        return inner

    @property
    def grid(self) -> TimeGrid | None:
        return self.inner.grid

    @property
    def content(self) -> str:
        return self.inner.content

    @property
    def method(self) -> str:
        """How messages name it."""
        return f"solver={self.typed or name_of(type(self)).lower()}"

    def check(self, denoiser: Denoiser) -> None:
        if denoiser.asks_empty:
            raise InputError(
                f"{self.method}: guides by itself, and so does guidance=; leave cfg and its like "
                "out of the list, guidance=[]"
            )
        self.inner.check(denoiser)

    def check_condition(self, cond: Condition | None) -> None:
        if cond is None or not cond.guides:
            raise InputError(
                f'{self.method}: needs a condition; set label=7 or prompt="a red circle", what the '
                "model takes, or another solver"
            )
        self.inner.check_condition(cond)

    def init(self, ask: Ask, x: Tensor, steps: Sequence[Step]) -> tuple[Any, Memory]:
        return self.inner.init(ask, x, steps), self.memory()

    @final
    def step(
        self, ask: Ask, x: Tensor, step: Step, state: tuple[Any, Memory], noise: Noise
    ) -> tuple[Tensor, tuple[Any, Memory]]:
        inner, memory = state
        answer = self.answer(ask.denoiser, step, memory)
        x, inner = self.inner.step(ask.through(answer), x, step, inner, noise)
        return x, (inner, answer.memory)

    @abstractmethod
    def memory(self) -> Memory:
        """Of no call so far."""

    @abstractmethod
    def answer(self, inner: Denoiser, step: Step, memory: Memory) -> Answer[Memory]:
        """What is asked in the place of ``inner`` in ``step``."""
