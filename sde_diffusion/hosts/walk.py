"""A solver's walk whose network is called by somebody else, one call after the other.

A host asks its network itself and hands the answer over, so a solver cannot call. Since the state
of a solver is explicit, a step is run until it asks for what is not answered yet, and run again
from its beginning with one answer more: only arithmetic is repeated, no call of the network.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.denoisers.parameterization import Parameterization
from sde_diffusion.denoisers.space import Space
from sde_diffusion.denoisers.timesteps import Timesteps
from sde_diffusion.errors import InputError
from sde_diffusion.process.grids import TimeGrid
from sde_diffusion.process.noise import Noise, Seeds
from sde_diffusion.process.sde import SDE
from sde_diffusion.solvers.base import Solver, StepSolver
from sde_diffusion.solvers.step import Ask

DRY = (2, 4, 4)  # shape of the state that a walk is tried out with


class Question(NamedTuple):
    """What a solver asks: y = x_0 + r n [N, *shape] at its noise level r, or n at infinity."""

    y: Tensor
    level: float


class Call(NamedTuple):
    """A call of a walk: its noise level, and whether a step begins with it."""

    level: float
    begins: bool


class Unanswered(Exception):
    """A solver asks for what is not answered yet."""

    def __init__(self, question: Question) -> None:
        super().__init__()
        self.question = question


@final
class Answers(Denoiser):
    """The answers so far in the order of the questions; one more is ``Unanswered``.

    Args:
        identity: fingerprint of the weights of the host's network, where it is known.
        parameterization: of that network.
    """

    def __init__(
        self, identity: str = "", parameterization: Parameterization | None = None
    ) -> None:
        super().__init__()
        self.sigma_min, self.sigma_max = 0.0, math.inf
        self.given: list[Tensor] = []
        self.asked = 0
        self._identity, self.parameterization = identity, parameterization

    @property
    def evaluations(self) -> int:
        return self.asked

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def ends(self) -> str:
        return self.parameterization.ends if self.parameterization else ""

    @property
    def table(self) -> Timesteps | None:
        return self.parameterization.table if self.parameterization else None

    def fresh(self) -> Answers:
        """The same network, asked nothing yet."""
        return Answers(self._identity, self.parameterization)

    def forward(self, x: Tensor, sigma: Tensor, cond: Condition | None = None) -> Tensor:
        self.asked += 1
        if self.asked > len(self.given):
            raise Unanswered(Question(x, float(sigma)))
        return self.given[self.asked - 1].to(x.dtype, copy=True)


@final
class Walk:
    """A solver of fixed steps on a grid, from ``begin`` on: ``question``, then ``answer``, ...

    Args:
        sde: whose states the solver moves; a host sees x_0 + r n alone.
        nfe: evaluations in all, those of the ends of the grid among them.
        answers: of the host's network.
    """

    def __init__(
        self, sde: SDE, solver: Solver, grid: TimeGrid, nfe: int, answers: Answers | None = None
    ) -> None:
        self.sde, self.grid = sde, grid
        self.answers = answers or Answers()
        self.solver = stepped(solver.fitted(self.answers))
        count = self.solver.steps(nfe - grid.to_zero - grid.from_infinity)
        self.times = grid.times(sde, count)
        self.ask = Ask(sde, self.answers, None, after=int(grid.to_zero)).along(self.times)
        self.question: Question | None = None
        self.image: Tensor | None = None
        # Where the walk is: x_t, or none before a start at infinity; its noise n; the step.
        self.x: Tensor | None = None
        self.n = torch.empty(0)
        self.k = self.first = 0

    def calls(self) -> list[Call]:
        """All calls of the walk, tried out on a state of noise: levels depend on no state."""
        dry = self._dry()
        shape = self.solver.shape or DRY
        dry.solver.check(_of_shape(dry.answers, shape))
        seeds = Seeds()
        n = seeds.start([0], shape, torch.float64)
        dry.begin(n, seeds.batch([0], shape, torch.float64))
        calls: list[Call] = []
        while dry.question is not None:
            calls.append(Call(dry.question.level, not dry.answers.given))
            dry.answer(0.5 * dry.question.y)
        return calls

    def asked_first(self, n: Tensor, noise: Noise) -> Tensor:
        """y of the first question from noise n: r n, but of a solver that moves before it asks."""
        dry = self._dry()
        dry.begin(n, noise)
        assert dry.question is not None
        return dry.question.y

    def begin(self, n: Tensor, noise: Noise) -> None:
        """At the first level, with noise n [N, *shape] about N(0, I)."""
        first = self.grid.from_infinity
        self._set(None if first else self.sde.prior(n, self.times[0]), noise, n)

    def begin_at(self, k: int, y: Tensor, noise: Noise) -> None:
        """At the beginning of step ``k`` of the grid, with the state y = x_0 + r n there."""
        self._set(self._alpha(k) * y, noise, y, k)

    def move(self, y: Tensor) -> None:
        """y in the place of the state at which the step begins that is asked for now."""
        if self.x is not None:
            self.x = self._alpha(self.k) * y
            self._forward()

    def answer(self, denoised: Tensor) -> None:
        """D of the question [N, *shape]; then the next ``question`` is open, or ``image`` there."""
        self.answers.given.append(denoised)
        self._forward()

    def _dry(self) -> Walk:
        """The same, not begun, with answers of its own."""
        dry = copy.copy(self)
        dry.answers = self.answers.fresh()
        dry.ask = Ask(self.sde, dry.answers, None, after=self.ask.after).along(self.times)
        return dry

    def _set(self, x: Tensor | None, noise: Noise, n: Tensor, k: int = 0) -> None:
        self.x, self.noise, self.n, self.k = x, noise, n, k
        self.first, self.image = k, None
        self.state: Any = None
        self.begun = False
        self.answers.given = []
        self._forward()

    def _alpha(self, k: int) -> float:
        """alpha where step ``k`` begins; one beyond the last step is the end."""
        steps = self.ask.steps
        return steps[k].a.alpha if k < len(steps) else steps[-1].b.alpha

    @torch.no_grad()
    def _forward(self) -> None:
        """On until a question is open or the image is there."""
        while self.image is None:
            noise = copy.copy(self.noise)
            self.answers.asked = 0
            try:
                self._phase(noise)
            except Unanswered as asked:
                self.question = asked.question
                return
            self.noise = noise
            self.answers.given = []
        self.question = None

    def _phase(self, noise: Noise) -> None:
        """The start at infinity, a step, or the last denoising: state changes at its end alone."""
        steps = self.ask.steps
        if self.x is None:
            self.x = self.sde.perturb(self.ask.noise_denoised(self.n), self.times[0], self.n)
        elif self.k < len(steps):
            state = self.state
            if not self.begun:
                state = self.solver.init(self.ask, self.x, steps[self.first :])
            x, self.state = self.solver.step(self.ask, self.x, steps[self.k], state, noise)
            self.x, self.begun, self.k = x, True, self.k + 1
        elif self.grid.to_zero:
            self.image = self.ask.denoise(self.x, steps[-1].b)
        else:
            end = steps[-1].b
            self.image = self.x / end.alpha * self.grid.end_factor(end.noise_level)


def stepped(solver: Solver) -> StepSolver[Any]:
    """The solver; InputError for one that owns its stepping."""
    if not isinstance(solver, StepSolver):
        name = type(solver).__name__
        raise InputError(
            f"solver={name}: owns its stepping, and a host asks step by step; give one of fixed "
            "steps, UniPC(3), say"
        )
    return solver


def guides_not(solver: Solver) -> None:
    """InputError for one that guides by itself, of two answers of the network."""
    if solver.asks_empty:
        raise InputError(
            f"solver={type(solver).__name__}: guides by itself, and a host hands over one answer, "
            "guided already; give the solver inside of it, DDIM(), say, and the host its guidance"
        )


def _of_shape(answers: Answers, shape: Sequence[int]) -> Answers:
    answers.space = Space.of(list(shape))
    return answers
