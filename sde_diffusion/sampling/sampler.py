"""Seeds -> states, in batches: the one place that wires SDE, denoiser, grid, solver and noise."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.codecs import PIXELS, Codec
from sde_diffusion.conditions.condition import LABEL, Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.errors import BudgetError, DivergedError, InputError
from sde_diffusion.images.pixels import not_finite
from sde_diffusion.process.grids import TimeGrid
from sde_diffusion.process.noise import Brownian, NoiseSource, Seeds
from sde_diffusion.process.sde import SDE, Marginal
from sde_diffusion.sampling.asked import Heard, Rehearsal
from sde_diffusion.sampling.diverged import diverged
from sde_diffusion.sampling.execute import Execution
from sde_diffusion.sampling.idle import idle, idle_grid
from sde_diffusion.sampling.recorder import Recorder
from sde_diffusion.sampling.repeats import check_repeats
from sde_diffusion.sampling.samples import Samples
from sde_diffusion.sampling.start import PRIOR, Start
from sde_diffusion.solvers.base import Observer, Solver, check_ends
from sde_diffusion.solvers.step import Ask
from sde_diffusion.system.notice import later

# Calls of the denoiser where nothing else is asked for.
NFE = 20


@dataclass(frozen=True)
class Request:
    """What is to be drawn.

    Attributes:
        seeds: one a row. nfe: network evaluations a sample; None for an adaptive solver.
        cond: the condition of the rows. start: where each begins.
        size: shape of a state, where the model takes several.
    """

    seeds: Sequence[int]
    nfe: int | None
    cond: Condition | None = None
    start: Start = PRIOR
    size: tuple[int, ...] | None = None

    def rows(self, rows: slice) -> Request:
        """What is to be drawn of some rows."""
        cond = None if self.cond is None else self.cond[rows]
        return Request(self.seeds[rows], self.nfe, cond, self.start.rows(rows), self.size)

    def distinct(self) -> Request:
        """Itself; InputError if two of its rows are one picture."""
        check_repeats(self.seeds, self.cond, self.start)
        return self


@dataclass(frozen=True)
class Watch:
    """What is kept, and who hears of it, on the way.

    Attributes:
        trajectory: keep the states of all rows. recorded: keep the denoiser's calls of the first
            so many rows.
        progress: label of a bar, drawn wherever stderr leads.
        on_batch(rows): hears of each batch that is done.
        on_step(at, x): hears of every state x_t [n, *shape] of a batch, a copy, at the marginal
            ``at``.
    """

    trajectory: bool = False
    recorded: int = 0
    progress: str | None = None
    on_batch: Callable[[int], None] | None = None
    on_step: Callable[[Marginal, Tensor], None] | None = None


@dataclass(frozen=True, repr=False)
class Sampler:
    """A solver on a grid of an SDE, asking a (guided) denoiser.

    ``denoise_last`` adds one denoising at the last noise level, counted as an evaluation; so does
    a grid that ends at zero, and one that begins at infinity at its beginning.

    Args:
        sde, solver, grid, noise: the components. denoiser: what is asked, guided or not.
        denoise_last: one more denoising at the last noise level.
        codec: makes pictures of states.
    """

    sde: SDE
    denoiser: Denoiser
    solver: Solver
    grid: TimeGrid
    noise: NoiseSource
    denoise_last: bool = False
    codec: Codec = PIXELS

    @classmethod
    def build(
        cls,
        sde: SDE,
        denoiser: Denoiser,
        solver: Solver,
        grid: TimeGrid | None,
        noise: NoiseSource | None = None,
        denoise_last: bool = False,
        brought: TimeGrid | None = None,
    ) -> Sampler:
        """A sampler, refused here if its parts cannot work together.

        What a grid leaves to the model is that of the denoiser, and of ``brought``.

        Args:
            sde, denoiser, solver, noise: the components; None for noise is ``Seeds()``.
            grid: of times; a solver that has a grid of its own takes that in its place.
            denoise_last: one more denoising at the last noise level, counted.
            brought: the grid of the model's own files, if it has one.
        """
        solver = solver.fitted(denoiser)
        check_ends(solver, denoiser)
        solver.check(denoiser)
        grid = solver.grid or grid
        if grid is None:
            raise InputError("grid: this solver names no default grid; choose one, grid=karras")
        if line := idle_grid(solver, grid, brought):
            later(line)
        if denoise_last and grid.to_zero:
            later("denoise_last=true: has no effect, the grid ends with a denoising by itself")
        low, high = denoiser.sigma_min, denoiser.sigma_max
        grid = grid.fitted(low, high, brought)
        grid.check(low, high)
        return cls(sde, denoiser, solver, grid, noise or Seeds(), denoise_last or grid.to_zero)

    def __repr__(self) -> str:
        """One line: a network is not one."""
        parts = f"{self.sde}, {self.solver}, {self.grid}"
        return f"Sampler({parts}{', denoise_last=True' * self.denoise_last})"

    @property
    def asks_empty(self) -> bool:
        """Whether guidance, or the solver, leads away from the other side of a condition."""
        return self.denoiser.asks_empty or self.solver.asks_empty

    def decoded_by(self, codec: Codec) -> Sampler:
        """The same, whose samples are made pictures of by ``codec``."""
        return replace(self, codec=codec)

    def steps(self, nfe: int | None) -> int:
        """Steps that ``nfe`` network evaluations a sample buy (a guidance pair costs two)."""
        if nfe is None or self.solver.adaptive:
            return self.solver.steps(nfe)
        cost, last = self.denoiser.cost, self.denoise_last + self.grid.from_infinity
        calls, rest = divmod(nfe, cost)
        if nfe < 1:
            raise InputError(f"nfe={nfe}: give a number of evaluations >= 1")
        if rest:
            raise InputError(
                f"nfe={nfe}: a guided call costs {cost} evaluations; "
                f"give a positive multiple of {cost}"
            )
        try:
            return self.solver.steps(calls - last)
        except BudgetError as error:
            terms = error.terms + ", one call denoises at the end" * self.denoise_last
            terms += ", one at the start" * self.grid.from_infinity
            terms += f", a guided call costs {cost}" * (cost > 1)
            raise BudgetError(nfe, terms, [(n + last) * cost for n in error.near]) from None

    def budget(self, nfe: int | None, start: Start = PRIOR) -> int | None:
        """``nfe``; where it is not said, what the levels of a list from ``start`` on take, else
        ``NFE`` calls of a fixed-step solver's denoiser, and of a posterior solver that calls it
        several times a step ``NFE`` steps."""
        if nfe is not None or self.solver.adaptive:
            return nfe
        grid = self._from(start)
        ends = self.denoise_last + grid.from_infinity
        spent = None if grid.own_steps is None else self.solver.spent(grid.own_steps)
        if spent is not None:
            return (spent + ends) * self.denoiser.cost
        calls = NFE if self.solver.calls == 1 else NFE * self.solver.calls + ends
        return calls * self.denoiser.cost

    def sample(
        self, request: Request, execution: Execution | None = None, watch: Watch | None = None
    ) -> Samples:
        """One row a seed, all batches joined."""
        return Samples.join(list(self.stream(request, execution, watch)))

    def stream(
        self, request: Request, execution: Execution | None = None, watch: Watch | None = None
    ) -> Iterator[Samples]:
        """The batches one after the other, as they are done."""
        if not isinstance(request, Request):
            raise InputError(f"request={request!r}: give Request(seeds=range(16), nfe=10), say")
        run, watch, n = execution or Execution(), watch or Watch(), len(request.seeds)
        walker, times = self.walk(request)
        with tqdm(total=n, desc=watch.progress, unit="image", disable=not watch.progress) as bar:
            for first in range(0, n, run.batch_size):
                part = request.rows(slice(first, first + run.batch_size))
                yield walker._batch(part, times, run, watch, watch.recorded - first)
                bar.update(len(part.seeds))
                if watch.on_batch is not None:
                    watch.on_batch(len(part.seeds))

    def walk(self, request: Request) -> tuple[Sampler, Tensor]:
        """The sampler from where the request starts, and its times; InputError for what cannot be
        drawn."""
        if not len(request.seeds):
            raise InputError("n=0: give at least one seed")
        self.solver.check_condition(request.cond)
        self.denoiser.check_condition(request.cond)
        if self.solver.asks_empty and request.cond is not None:
            self.denoiser.check_condition(request.cond.empty)
        walker = self._walking(request)
        times = walker.grid.times(self.sde, walker.steps(request.nfe))
        high, low = self.sde.noise_level(times[[0, -1]]).tolist()
        self.denoiser.check_levels(low, math.inf if self.grid.from_infinity else high)
        if not self.solver.adaptive:
            self.denoiser.check_asked(lambda: walker._rehearsed(request, times)[0])
        return walker, times

    def tell_idle(self, request: Request) -> None:
        """A line for each field of the solver, and for the noise, that has no effect on what is
        drawn as the rest is."""

        def drawn(solver: Solver, noise: NoiseSource) -> Tensor:
            fitted = self.solver if solver is self.solver else solver.fitted(self.denoiser)
            walker, times = replace(self, solver=fitted, noise=noise).walk(request)
            return walker._rehearsed(request, times)[1]

        for line in idle(self.solver, self._repeatable, drawn):
            later(line)

    @torch.no_grad()
    def _rehearsed(self, request: Request, times: Tensor) -> tuple[list[float], Tensor]:
        """The noise levels that are asked at, and the first sample, of no network."""
        heard, row = Rehearsal(self.denoiser), request.rows(slice(0, 1))
        run = Execution(1, torch.float64)
        walker = replace(self, noise=self._repeatable)
        x = walker._solved(heard, row, times, run, lambda at, x: None)
        return heard.levels, x

    @property
    def _repeatable(self) -> NoiseSource:
        """The noise, or ours for somebody's own, which may give its draws in turn, once each."""
        return self.noise if isinstance(self.noise, Seeds | Brownian) else Seeds()

    def _walking(self, request: Request) -> Sampler:
        """The same on the grid for the size and the start of a request."""
        shape = request.size or self.denoiser.space.shape
        return replace(self, grid=self._from(request.start, self.grid.sized(shape)))

    def _from(self, start: Start, grid: TimeGrid | None = None) -> TimeGrid:
        """The grid, of the sampler unless another is given, from where a start stands."""
        grid, level = grid or self.grid, start.level
        return grid if level is None else grid.starting_at(level)

    @torch.no_grad()
    def _batch(
        self, request: Request, times: Tensor, run: Execution, watch: Watch, recorded: int
    ) -> Samples:
        began, before = time.perf_counter(), self.denoiser.evaluations
        back = self.denoiser.backward_passes
        recorder = Recorder(self.denoiser, recorded) if recorded > 0 else None
        path: list[tuple[float, Tensor]] = []

        def observe(at: Marginal, x: Tensor) -> None:
            if watch.trajectory:
                path.append((at.t, (x / at.alpha).cpu()))
            if watch.on_step is not None:
                watch.on_step(at, x.clone())

        heard = Heard(recorder or self.denoiser) if self.solver.adaptive else None
        x = self._solved(heard or recorder or self.denoiser, request, times, run, observe).cpu()
        if heard is not None:
            heard.tell()
        if wrong := not_finite(x):
            raise self._diverged(x, wrong, request, times, run)
        return Samples(
            x,
            tuple(request.seeds),
            (self.denoiser.evaluations - before) / len(request.seeds),
            time.perf_counter() - began,
            torch.stack([state for _, state in path]) if path else None,
            torch.tensor([t for t, _ in path], dtype=torch.float64) if path else None,
            None if recorder is None else recorder.calls,
            self.codec,
            _labels(request.cond),
            (self.denoiser.backward_passes - back) / len(request.seeds),
        )

    def _solved(
        self, denoiser: Denoiser, request: Request, times: Tensor, run: Execution, observe: Observer
    ) -> Tensor:
        """x_0 of the rows of a request [N, *shape]."""
        cond = None
        if request.cond is not None:
            cond = self.denoiser.encode(request.cond.to(run.device))
        ask = Ask(self.sde, denoiser, cond, after=int(self.grid.to_zero))
        shape = request.size or self.denoiser.space.shape
        drawn = request.seeds, shape, run.dtype, run.device
        noise, start = self.noise.batch(*drawn), request.start.n
        n = self.noise.start(*drawn) if start is None else start.to(run.device, run.dtype)
        if self.grid.from_infinity:
            # DDIM from x_t = n, of which nothing is the image: x_s = alpha_s D + sigma_s n.
            x = self.sde.perturb(ask.noise_denoised(n), times[0], n)
        else:
            x = request.start.state(self.sde, n, times[0])
            if request.start.level is None:
                x = x * self.grid.start_factor(float(self.sde.noise_level(times[0])))
        x = self.solver.solve(ask, x, times, noise, observe)
        end = ask.at(float(times[-1]))
        if self.denoise_last:
            return ask.denoise(x, end)
        return x / end.alpha * self.grid.end_factor(end.noise_level)

    def _diverged(
        self, x: Tensor, wrong: int, request: Request, times: Tensor, run: Execution
    ) -> DivergedError:
        """What went wrong in the first row that is not finite, or in a batch that is coupled."""
        k = int(x.isfinite().flatten(1).all(1).int().argmin())
        part = request if self.solver.couples_batch else request.rows(slice(k, k + 1))

        def again(denoiser: Denoiser, observe: Observer) -> Tensor:
            return self._solved(denoiser, part, times, run, observe)

        return diverged(wrong, len(x), self.solver, self.denoiser, again)


def _labels(cond: Condition | None) -> tuple[int | None, ...] | None:
    """The class of each row, None where it keeps none; None where no row has one."""
    part = None if cond is None else cond.parts.get(LABEL)
    if part is None or part.value.ndim != 1:
        return None
    pairs = zip(part.value.tolist(), part.keep.tolist(), strict=True)
    return tuple(value if keep else None for value, keep in pairs)
