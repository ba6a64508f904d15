"""Any solver of this package as the scheduler of an unmodified diffusers pipeline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sde_diffusion.config import groups, samplers
from sde_diffusion.denoisers.parameterization import Scalars
from sde_diffusion.errors import BudgetError, InputError
from sde_diffusion.hosts.facts import Facts, facts_of, not_a_grid, owner
from sde_diffusion.hosts.levels import asked
from sde_diffusion.hosts.noise import Generators, HostNoise, drawn_by, seeds_of
from sde_diffusion.hosts.walk import Answers, Call, Walk, guides_not, stepped
from sde_diffusion.process.grids import Explicit, Karras, TimeGrid
from sde_diffusion.process.noise import Noise, NoiseSource, Seeds
from sde_diffusion.process.sde import EDM, SDE
from sde_diffusion.solvers.base import check_ends
from sde_diffusion.system.identity import parameters

CLOSE = 1e-4  # what a timestep may lose in a host's dtype, of the whole
INVERSION = 8  # corrections of a start, each of which leaves a few percent of what was off


class Config(dict[str, Any]):
    """A scheduler's config, whose entries are attributes too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Stepped(tuple[Tensor]):
    """What ``step`` answers: ``(latents,)``, and by name."""

    @property
    def prev_sample(self) -> Tensor:
        return self[0]


class SolverScheduler:
    """``pipe.scheduler = SolverScheduler(UniPC(3), grid, pipe.scheduler)``.

    Or by name: ``SolverScheduler("DPM++ 2M Karras", model=pipe.scheduler)``.

    The pipeline keeps its loop, its guidance and its network; ``num_inference_steps`` are
    evaluations of the network a sample, whatever the solver spends a step. Latents have the scale
    of the process that the network was trained on, as those of DDIM or FlowMatchEuler.

    Where the pipeline draws the first latents, that is its own generator's affair (``latents=
    scheduler.start(shape)`` hands it those of ``seeds``). What a solver draws later is of
    ``seeds`` where they are given; else of the ``generator`` that the pipeline hands on, and of
    torch's global one where it hands on none (Stable Diffusion 3 and Flux do not).

    Args:
        solver: of fixed steps, by object or name; a ``Calibrated`` one brings its own grid. Or
            solver and grid by the name that other programs have for them, ``"DPM++ 2M Karras"``.
        grid: an object, a name, or a list of noise levels; None: the model's own.
        model: what the network is: the pipeline, its scheduler, a scheduler's config, or a model of
            ``load``. A ``FlowShift`` grid says it without.
        seeds: one a row, or the first of consecutive ones; noise: how they become noise.
        sde: whose states the solver moves; most solvers make the same of any.

    Attributes:
        own: the scheduler that ``model`` is or has, in whose place this one stands: a pipeline is
            saved with that one, ``pipe.scheduler = pipe.scheduler.own``.
    """

    order = 1
    init_noise_sigma: float = 1.0

    def __init__(
        self,
        solver: Any,
        grid: Any = None,
        model: Any = None,
        *,
        seeds: int | Sequence[int] | None = None,
        noise: NoiseSource | None = None,
        sde: SDE | None = None,
    ) -> None:
        not_a_grid(grid)
        preset = samplers.chosen(solver, grid, None)
        self.solver = stepped(groups.resolve("solver", preset.resolvable_solver))
        guides_not(self.solver)
        self.grid = self.solver.grid or _grid(preset.resolvable_grid)
        self.facts: Facts = facts_of(model, self.grid)
        self._network = Answers(self.facts.identity, self.facts.parameterization)
        check_ends(self.solver, self._network)
        self.seeds, self.noise, self.sde = seeds, noise or Seeds(), sde or EDM()
        self.own = owner(model)
        # What pipelines look up, and where they correct an old config: this one is not walked by.
        self.config = Config({"num_train_timesteps": 1000, "steps_offset": 1, **self.facts.config})
        self.timesteps = torch.zeros(0)
        self.sigmas = torch.zeros(0)
        self.num_inference_steps: int | None = None
        self._begin_index: int | None = None
        self._index: int | None = None
        self._given: Tensor | None = None
        self._walk: Walk | None = None
        self._calls: list[Call] = []

    def __len__(self) -> int:
        return int(self.config["num_train_timesteps"])

    @property
    def step_index(self) -> int | None:
        """Number of the call that is answered next."""
        return self._index

    @property
    def begin_index(self) -> int | None:
        return self._begin_index

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Start at this call, as image-to-image does; InputError in the midst of a step."""
        if not 0 <= begin_index < len(self._calls):
            raise InputError(
                f"strength: leaves none of {len(self._calls)} evaluations; give a larger one"
            )
        if not self._calls[begin_index].begins:
            raise InputError(
                f"strength: starts in the midst of a step of {type(self.solver).__name__}; give "
                "another number of steps, or another strength"
            )
        self._begin_index = begin_index

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
        timesteps: Sequence[float] | None = None,
    ) -> None:
        """Make ``timesteps``, one an evaluation.

        Args:
            sigmas: noise levels to go through, or t in 0 .. 1 of a flow; mu: log of the shift of a
                flow for its resolution. Pipelines of flows pass both by themselves, and a grid that
                was chosen goes before them. timesteps: levels by the number that networks are told.
        """
        grid, count = asked(
            self.facts, self.grid, self.solver, num_inference_steps, timesteps, sigmas, mu
        )
        grid = grid.fitted(self.facts.sigma_min, self.facts.sigma_max, self.facts.grid)
        self._check(grid)
        ends = grid.to_zero + grid.from_infinity
        try:
            self._walk = Walk(self.sde, self.solver, grid, count, answers=self._network.fresh())
        except BudgetError as error:
            terms = error.terms + ", with its ends" * bool(ends)
            near = " or ".join(str(n + ends) for n in error.near)
            raise InputError(f"num_inference_steps={count}: {terms}; give {near}") from None
        self._calls = self._walk.calls()
        self._scalars = [self._at(call.level) for call in self._calls]
        labels = [at.c_noise for at in self._scalars]
        self.timesteps = torch.tensor(labels, dtype=torch.float32, device=device)
        self.sigmas = torch.tensor([call.level for call in self._calls], dtype=torch.float64)
        self.num_inference_steps = len(labels)
        first = self._calls[0].level
        size = 1.0 if math.isinf(first) else first * grid.start_factor(first)
        self.init_noise_sigma = size * self._scalars[0].c_in
        self._begin_index, self._index, self._given = None, None, None

    def scale_model_input(self, sample: Tensor, timestep: Any = None) -> Tensor:
        """Latents as the network takes them: as they are."""
        return sample

    def start(self, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        """Noise of the seeds [N, *shape of a row], for a pipeline's ``latents=``.

        Of a calibrated solver, which moves before it first asks: after ``set_timesteps``.
        """
        seeds = self._seeds(shape[0])
        n = self.noise.start(seeds, shape[1:], dtype)
        if self.solver.grid is None:
            return n
        level = self._walking("start").calls()[0].level
        noise = self.noise.batch(seeds, shape[1:], torch.float64)
        return (self._walking().asked_first(n.double(), noise) / level).to(dtype)

    def step(
        self,
        model_output: Tensor,
        timestep: Any,
        sample: Tensor,
        eta: float = 0.0,
        use_clipped_model_output: bool = False,
        generator: Generators = None,
        return_dict: bool = True,
    ) -> Stepped | tuple[Tensor]:
        """The latents of the next evaluation, or the image's after the last.

        Args:
            model_output: of the network at ``timestep`` for ``sample`` [N, *shape], guided; the
                second half of twice as many channels is a variance, and left out.
            sample: what the last call returned. Changed by the pipeline, it is taken as it is,
                where a step begins.
        """
        if eta:
            raise InputError(f"eta={eta}: belongs to the solver here; give DDIM(eta={eta})")
        index = self._next(timestep)
        call, at = self._calls[index], self._scalars[index]
        y = self._state(sample, call, at, index, generator)
        output = model_output[:, : sample.shape[1]].to(y.dtype)
        walk = self._walking()
        walk.answer(at.c_skip * y + at.c_out * output)
        self._index = index + 1
        self._given = self._latents().to(sample.dtype)
        return Stepped((self._given,)) if return_dict else (self._given,)

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """x_t = c_in (x_0 + r n) at one of ``timesteps`` for all rows, n at infinity."""
        index = self._index_of(float(timesteps.reshape(-1)[0]), 0)
        at, level = self._scalars[index], self._calls[index].level
        if math.isinf(level):
            return noise
        return at.c_in * (original_samples + level * noise)

    def scale_noise(self, sample: Tensor, timestep: Tensor, noise: Tensor) -> Tensor:
        """``add_noise`` by the name that pipelines of flows have for it."""
        return self.add_noise(sample, noise, timestep)

    def __repr__(self) -> str:
        grid = "the model's grid" if self.grid is None else type(self.grid).__name__
        return f"SolverScheduler({type(self.solver).__name__}, {grid})"

    def _check(self, grid: TimeGrid) -> None:
        low, high = self.facts.sigma_min, self.facts.sigma_max
        ranged = type(grid) if "sigma_max" in parameters(type(grid)) else Karras
        if grid.sigma_min < low * (1 - CLOSE) or grid.sigma_max > high * (1 + CLOSE):
            raise InputError(
                f"grid: levels {grid.sigma_min:.4g} .. {grid.sigma_max:.4g} are beyond those that "
                f"the network was trained on, {low:.4g} .. {high:.4g}; give "
                f"{ranged.__name__}(sigma_min={low:.4g}, sigma_max={high:.4g}), or no grid"
            )
        if self.facts.flow and not grid.from_infinity and not math.isinf(grid.sigma_max):
            raise InputError(
                f"grid: begins at noise level {grid.sigma_max:.4g}, and a pipeline of a flow with "
                "the noise itself; give FlowShift(shift=3.0), levels that begin with inf, or none"
            )

    def _at(self, level: float) -> Scalars:
        return self.facts.parameterization.scalars(level)

    def _seeds(self, rows: int) -> list[int]:
        if self.seeds is None:
            raise InputError("seeds: none were given; SolverScheduler(solver, grid, seeds=0)")
        return seeds_of(self.seeds, rows)

    def _noise(self, sample: Tensor, dtype: torch.dtype, generator: Generators) -> Noise:
        rows, shape = len(sample), sample.shape[1:]
        if self.seeds is not None:
            return self.noise.batch(self._seeds(rows), shape, dtype, sample.device)
        draw = drawn_by(generator, sample)
        return HostNoise(lambda t, s: draw(t, s).to(dtype), rows)

    def _index_of(self, timestep: float, first: int) -> int:
        """The first call at ``timestep`` from ``first`` on."""
        slack = CLOSE * len(self)
        for index in range(first, len(self._calls)):
            if abs(self._scalars[index].c_noise - timestep) <= slack:
                return index
        raise InputError(
            f"timestep={timestep:g}: none of those that set_timesteps made; give one of "
            "scheduler.timesteps, in their order"
        )

    def _walking(self, asked: str = "step") -> Walk:
        if self._walk is None:
            raise InputError(f"{asked}: call set_timesteps(num_inference_steps) first")
        return self._walk

    def _next(self, timestep: Any) -> int:
        """The number of the call that ``timestep`` is of; InputError out of turn."""
        self._walking()
        time = float(timestep.reshape(-1)[0] if isinstance(timestep, Tensor) else timestep)
        if self._index is not None:
            if self._index < len(self._calls):
                wanted = self._scalars[self._index].c_noise
                if abs(time - wanted) <= CLOSE * len(self):
                    return self._index
            if self._index < len(self._calls) or time != float(self.timesteps[0]):
                raise InputError(
                    f"timestep={time:g}: call {self._index} of this walk is another; go through "
                    "scheduler.timesteps in their order, or call set_timesteps again"
                )
        if self._begin_index:
            return self._begin_index
        return self._index_of(time, 0)

    def _state(
        self, sample: Tensor, call: Call, at: Scalars, index: int, generator: Generators
    ) -> Tensor:
        """y of the call: the walk's own, or the pipeline's where it begins or changed something."""
        wide = torch.promote_types(sample.dtype, torch.float32)
        walk = self._walking()
        if self._index is None:
            noise = self._noise(sample, wide, generator)
            self._begun(sample.to(wide) / at.c_in, index, noise)
        elif self._given is None or not torch.equal(sample, self._given):
            if not call.begins:
                raise InputError(
                    "sample: changed in the midst of a step; change it where a step begins, or "
                    "take a solver with one evaluation a step"
                )
            walk.move(sample.to(wide) / at.c_in)
        assert walk.question is not None
        return walk.question.y

    def _begun(self, y: Tensor, index: int, noise: Noise) -> None:
        """The walk at call ``index`` with state y, which is n at infinity."""
        walk = self._walking()
        if index:
            step = sum(call.begins for call in self._calls[:index]) - walk.grid.from_infinity
            walk.begin_at(step, y, noise)
            return
        level = self._calls[0].level
        n = y if math.isinf(level) else y / level
        if self.solver.grid is not None:
            # The pipeline's network has been asked at y: the walk begins where it leads to y.
            for _ in range(INVERSION):
                n = n + (y - walk.asked_first(n, noise)) / level
        walk.begin(n, noise)

    def _latents(self) -> Tensor:
        """What the pipeline holds: of the next question, or the image."""
        walk = self._walking()
        if walk.question is None:
            assert walk.image is not None
            return walk.image
        return self._scalars[self._index or 0].c_in * walk.question.y


def _grid(grid: Any) -> TimeGrid | None:
    """An object; of a name, or of noise levels."""
    if grid is None or isinstance(grid, TimeGrid):
        return grid
    plain = getattr(grid, "tolist", lambda: grid)()
    if isinstance(plain, list | tuple):
        return Explicit([float(level) for level in plain])
    resolved: TimeGrid = groups.resolve("grid", grid)
    return resolved
