"""What a solver is: integrates the reverse process along a decreasing time grid."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, cast, final

import torch
from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser, check_means
from sde_diffusion.errors import BudgetError, InputError
from sde_diffusion.process.grids import TimeGrid
from sde_diffusion.process.noise import Noise
from sde_diffusion.process.sde import Marginal
from sde_diffusion.solvers.step import Ask, Step
from sde_diffusion.system.identity import Component

State = TypeVar("State")
Observer = Callable[[Marginal, Tensor], None]


class Solver(Component, ABC, known_as="solver"):
    """Integrates x from times[0] to times[-1].

    Class facts, each of which a test measures:
        order: the integer order of convergence at the end of the grid, start-up and last steps
            included; weak order if stochastic; None if it has none (adaptive, or a corrector is in
            it).
        stochastic: whether the solver draws noise after the start.
        couples_batch: whether a sample depends on the others in its batch.
        adaptive: whether it chooses its own steps, and takes tolerances in place of a budget.
        linear: whether the end is linear in the start and the draws if the denoiser is: no norms
            of the state, no error control. Then ``sde_diffusion.exact`` knows its law.
        covariant: whether it sees x / alpha and noise levels only, so that on one list of noise
            levels it makes the same sample on every SDE; false if it works in the SDE's own time.
        on_cpu: whether it works on the CPU alone; a state elsewhere is refused.
        asks_ends: its name as ``ends`` of the models that it alone draws, whose answers are ends of
            paths; empty for a solver of denoisers.
        asks_empty: whether it asks for the empty side of a condition too, from which it leads away.
        papers: what it is cited by, arXiv identifiers or ``doi:...``.
    An instance may sharpen them in its constructor (an order that is a choice, say).
    """

    order: int | None
    stochastic: bool = False
    couples_batch: bool = False
    adaptive: bool = False
    linear: bool = True
    covariant: bool = True
    on_cpu: bool = False
    asks_ends: str = ""
    asks_empty: bool = False
    papers: tuple[str, ...] = ()

    @abstractmethod
    def steps(self, nfe: int | None) -> int:
        """Steps that a budget of ``nfe`` evaluations a sample buys; InputError if it buys none.

        Adaptive solvers take ``None`` and return the number of intervals they are observed at.
        """

    @property
    def content(self) -> str:
        """Fingerprint of the file that it was read from; empty if it is all in its fields."""
        return ""

    def spent(self, steps: int) -> int | None:
        """Evaluations a sample of so many steps; None where steps do not fix them."""
        return None

    @property
    def calls(self) -> int:
        """Evaluations a step for which a budget that nobody has said makes room: of a solver that
        takes any number of steps, one."""
        return 1

    @property
    def grid(self) -> TimeGrid | None:
        """The only grid that it walks, whatever another is asked for; None if it walks any."""
        return None

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Of the only states that it moves; None if it moves any."""
        return None

    def fitted(self, denoiser: Denoiser) -> Solver:
        """Itself as it is for ``denoiser``, with what the package carries for that, also of the
        solvers that it is made of; here, nothing is looked for."""
        parts = {k: part for k, part in self.fields().items() if isinstance(part, Solver)}
        fitted_parts = {name: part.fitted(denoiser) for name, part in parts.items()}
        same = all(fitted_parts[name] is part for name, part in parts.items())
        return self if same else self.changed(**fitted_parts)

    def check(self, denoiser: Denoiser) -> None:
        """InputError, with the remedy, if the solver cannot ask ``denoiser``."""

    def check_condition(self, cond: Condition | None) -> None:
        """InputError, with the remedy, if the solver was made for another kind of condition."""

    @abstractmethod
    def solve(
        self, ask: Ask, x: Tensor, times: Tensor, noise: Noise, observe: Observer | None = None
    ) -> Tensor:
        """x [N, *shape] at times[0] -> x at times[-1].

        Args:
            ask: the denoiser, the SDE and what follows from both.
            times: decreasing, float64 [n + 1]. noise: a row a seed.
            observe: ``observe(at, x)`` sees every state, the first and the last among them.
        """


class StepSolver(Solver, Generic[State]):
    """A solver of the form x_s, state = step(x_t, state): write ``init`` and ``step``.

    ``evaluations`` a step, and ``saved`` evaluations in all (negative if there are more), fix the
    budget: nfe = steps * evaluations - saved.

    ``one_step``: whether a step sees its own start only, so that it may go to any time.
    ``stays``: whether its move stays at one noise level: a ``Corrector``.
    """

    evaluations: int = 1
    saved: int = 0
    one_step: bool = True
    stays: bool = False

    def init(self, ask: Ask, x: Tensor, steps: Sequence[Step]) -> State:
        """What the solver carries from step to step; None if nothing.

        Args:
            ask: the denoiser, the SDE and what follows from both. x: the first state [N, *shape].
            steps: those to be taken: all of the grid, or what is left of it.
        """
        return cast(State, None)

    @abstractmethod
    def step(
        self, ask: Ask, x: Tensor, step: Step, state: State, noise: Noise
    ) -> tuple[Tensor, State]:
        """One step from ``step.a`` down to ``step.b``; the last one adds no noise.

        Args:
            ask: ``ask.denoise(x, at)``, ``ask.score``, ``ask.drift`` and so on, an evaluation each.
            x: x_t [N, *shape]. step: from t to s, plain numbers.
            state: what ``init`` or the step before returned; never changed in place.
            noise: ``noise.normal(t, s)`` [N, *shape] for the step.

        Returns:
            x_s [N, *shape], and the state for the next step.
        """

    def steps(self, nfe: int | None) -> int:
        if nfe is None:
            raise InputError("nfe=null: this solver takes fixed steps; give nfe=20, say")
        n, rest = divmod(nfe + self.saved, self.evaluations)
        if n < 1 or rest:
            near = [k * self.evaluations - self.saved for k in (max(1, n), max(1, n) + 1)]
            others = f", {-self.saved:+d} in all" if self.saved else ""
            terms = f"{type(self).__name__} spends {self.evaluations} evaluations a step{others}"
            raise BudgetError(nfe, terms, near)
        return n

    def spent(self, steps: int) -> int | None:
        return steps * self.evaluations - self.saved

    @final
    def flows(self, step: Step) -> bool:
        """Whether the step, which adds no noise if it is the last, follows the flow (eta = 0).

        A step that removes the noise of the process and puts none back leaves a law of first
        order; a solver of first order keeps that step, which is the published mean.
        """
        return step.last and self.order is not None and self.order > 1

    @final
    def solve(
        self, ask: Ask, x: Tensor, times: Tensor, noise: Noise, observe: Observer | None = None
    ) -> Tensor:
        ask = ask.along(times)
        state = self.init(ask, x, ask.steps)
        if observe is not None:
            observe(ask.steps[0].a, x)
        for step in ask.steps:
            x, state = self.step(ask, x, step, state, noise)
            if observe is not None:
                observe(step.b, x)
        return x


class Corrector(StepSolver[None]):
    """A solver whose move stays at one noise level: write ``correct``.

    Run by itself it is annealed: x / alpha is carried over from level to level.
    """

    stochastic = True
    stays = True

    @abstractmethod
    def correct(self, ask: Ask, x: Tensor, step: Step, noise: Noise) -> Tensor:
        """x_t -> x_t at the same time t, before the step to s.

        Args:
            ask, noise: as of ``StepSolver.step``. x: x_t [N, *shape].
            step: the one that follows, ``step.a`` is at t.
        """

    @final
    def step(
        self, ask: Ask, x: Tensor, step: Step, state: None, noise: Noise
    ) -> tuple[Tensor, None]:
        x = self.correct(ask, x, step, noise)
        return step.b.alpha / step.a.alpha * x, None


class BlackBox(Solver):
    """An integrator that owns its stepping and takes tolerances in place of a budget."""

    order = None
    adaptive = True
    linear = False
    knobs: str = "solver.rtol"  # what a user sets in place of nfe

    def steps(self, nfe: int | None) -> int:
        if nfe is not None:
            raise InputError(
                f"nfe={nfe}: {type(self).__name__} chooses its own steps; "
                f"give nfe=null and set {self.knobs}"
            )
        return 1

    @abstractmethod
    def integrate(self, ask: Ask, x: Tensor, times: Tensor, noise: Noise) -> Tensor:
        """x [N, *shape] at times[0] -> x at times[-1].

        Args:
            ask, noise: as of ``StepSolver.step``. times: float64, the first and the last count.
        """

    @final
    def solve(
        self, ask: Ask, x: Tensor, times: Tensor, noise: Noise, observe: Observer | None = None
    ) -> Tensor:
        if self.on_cpu and x.device.type != "cpu":
            other = "adaptive_sde" if self.stochastic else "dopri"
            raise InputError(
                f"device={x.device}: {type(self).__name__} works on the CPU alone; set device=cpu, "
                f"or choose solver={other}"
            )
        if observe is not None:
            observe(ask.at(float(times[0])), x)
        x = self.integrate(ask, x, times, noise)
        if observe is not None:
            observe(ask.at(float(times[-1])), x)
        return x


def check_ends(solver: Solver, denoiser: Denoiser) -> None:
    """InputError for a solver of means of x_0 on answers that are ends of paths, or the reverse."""
    if not solver.asks_ends:
        check_means(denoiser)
    elif solver.asks_ends != denoiser.ends:
        is_one = "a distilled one of another kind" if denoiser.ends else "a denoiser"
        raise InputError(
            f"solver: {solver.asks_ends} is of models alone that were distilled for it, and this "
            f"one is {is_one}; choose another, solver={denoiser.ends or 'unipc'}"
        )


def finite(answer: Tensor, sigma: Tensor) -> Tensor:
    """The denoiser's ``answer`` at noise levels ``sigma``; InputError unless all of it is finite.

    No step is short enough for an answer that is not: an integrator that chooses its own would look
    for one to no end, and blame its tolerances.
    """
    if not bool(answer.isfinite().all()):
        raise not_finite(float(sigma.expand(len(answer))[~finite_rows(answer)][0]))
    return answer


def finite_rows(answer: Tensor) -> Tensor:
    """Whether each row of ``answer`` [N, *shape] is finite, bool [N]."""
    return answer.flatten(1).isfinite().all(1)


def not_finite(level: float) -> InputError:
    """What to say of an answer at noise level ``level`` that is not finite."""
    return InputError(
        f"denoiser: its answer at noise level {level:.4g} is not finite; check the model's "
        "weights and its dtype"
    )


def expand(value: Tensor, x: Tensor) -> Tensor:
    """One number a row [N] as [N, 1, ...] that multiplies x [N, *shape]."""
    return value.reshape(-1, *[1] * (x.ndim - 1))


def row_norm(x: Tensor) -> Tensor:
    """Euclidean norm of each row [N] of x [N, *shape]."""
    return torch.linalg.vector_norm(x.flatten(1), dim=1)


def root_mean_square(x: Tensor) -> Tensor:
    """Of each row [N] of x [N, *shape]."""
    return row_norm(x) / x[0].numel() ** 0.5


def linear(*terms: tuple[float, Tensor]) -> Tensor:
    """sum_j c_j x_j of two terms or more, in one new buffer.

    A pass over memory a term, one fewer where the first coefficient is 1.
    """
    (c, x), (c_1, x_1), *rest = terms
    total = torch.add(x, x_1, alpha=c_1) if c == 1 else (c * x).add_(x_1, alpha=c_1)
    for c, x in rest:
        total.add_(x, alpha=c)
    return total
