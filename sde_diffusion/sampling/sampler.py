"""Seeds -> images, in batches: the one place that wires SDE, denoiser, grid, solver and noise."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.errors import BudgetError, InputError
from sde_diffusion.images.image_set import to_uint8
from sde_diffusion.process.grids import TimeGrid
from sde_diffusion.process.noise import NoiseSource, Seeds
from sde_diffusion.process.sde import SDE, Marginal
from sde_diffusion.sampling.film import Film, draw, encode
from sde_diffusion.sampling.recorder import Calls, Recorder
from sde_diffusion.solvers.base import Solver
from sde_diffusion.solvers.step import Ask
from sde_diffusion.system.storage import write_atomically


@dataclass(frozen=True)
class Samples:
    """What a sampler made.

    Attributes:
        x: images [N, *shape] on the CPU, about -1 .. 1, in the order of the seeds.
        nfe: network evaluations a sample, counted at the network.
        seconds: wall time of sampling.
        trajectory: x_t / alpha_t of every step [T, N, *shape] if it was asked for.
        times: the T times of the trajectory, float64.
        calls: what the denoiser was asked and answered, of the first images, if it was asked for
            and the solver takes the same steps for all.
    """

    x: Tensor
    nfe: float
    seconds: float
    trajectory: Tensor | None = None
    times: Tensor | None = None
    calls: Calls | None = None

    @property
    def images(self) -> Tensor:
        """The images as uint8 [N, C, H, W], clipped and rounded."""
        return to_uint8(self.x)

    @property
    def film(self) -> Film:
        """How the first images formed; InputError if their calls were not recorded."""
        if self.calls is None:
            raise InputError(
                "trajectory: the calls of the denoiser were not recorded; give trajectory=True "
                "and a solver of fixed steps"
            )
        return Film.of(self.calls, self.x)

    def save_animation(self, path: str | Path) -> None:
        """Write x_t beside the denoised estimate, call by call, as .webp or .gif."""
        write_atomically(Path(path), encode(draw({"": self.film}), Path(path).suffix))


@dataclass(frozen=True)
class Sampler:
    """A solver on a grid of an SDE, asking a (guided) denoiser.

    ``denoise_last`` adds one denoising at the last noise level, counted as an evaluation.
    """

    sde: SDE
    denoiser: Denoiser
    solver: Solver
    grid: TimeGrid
    noise: NoiseSource
    denoise_last: bool = False

    @classmethod
    def build(
        cls,
        sde: SDE,
        denoiser: Denoiser,
        solver: Solver,
        grid: TimeGrid | None,
        noise: NoiseSource | None = None,
        denoise_last: bool = False,
    ) -> Sampler:
        """A sampler, refused here if its parts cannot work together.

        A solver that has a grid of its own takes it in the place of ``grid``.
        """
        solver.check(denoiser)
        grid = solver.grid or grid
        if grid is None:
            raise InputError("grid: this solver names no default grid; choose one, grid=karras")
        low, high = denoiser.sigma_min, denoiser.sigma_max
        if grid.sigma_min < low * (1 - 1e-6) or grid.sigma_max > high * (1 + 1e-6):
            raise InputError(
                f"grid.sigma_min={grid.sigma_min:g}, grid.sigma_max={grid.sigma_max:g}: outside "
                f"the model's training range {low:g} .. {high:g}; give noise levels within it"
            )
        return cls(sde, denoiser, solver, grid, noise or Seeds(), denoise_last)

    def steps(self, nfe: int | None) -> int:
        """Steps that ``nfe`` network evaluations a sample buy (a guidance pair costs two)."""
        if nfe is None or self.solver.adaptive:
            return self.solver.steps(nfe)
        cost, last = self.denoiser.cost, int(self.denoise_last)
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
            terms = error.terms + ", one call denoises at the end" * last
            terms += f", a guided call costs {cost}" * (cost > 1)
            raise BudgetError(nfe, terms, [(n + last) * cost for n in error.near]) from None

    def sample(
        self,
        seeds: Sequence[int],
        nfe: int | None,
        cond: Condition | None = None,
        batch_size: int = 128,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        trajectory: bool = False,
        progress: str | None = None,
        on_batch: Callable[[int], None] | None = None,
        recorded: int = 0,
    ) -> Samples:
        """One image a seed. ``progress`` labels a bar; ``on_batch(rows)`` hears of each batch.

        ``trajectory`` keeps the states of all images, ``recorded`` the calls of the first so many.
        """
        if not seeds or batch_size < 1:
            raise InputError(f"n={len(seeds)}, batch_size={batch_size}: give numbers >= 1")
        self.solver.check_condition(cond)
        times = self.grid.times(self.sde, self.steps(nfe))
        before, start = self.denoiser.evaluations, time.perf_counter()
        images: list[Tensor] = []
        paths: list[list[tuple[float, Tensor]]] = []
        calls: list[Calls | None] = []
        bar = tqdm(total=len(seeds), desc=progress, unit="image", disable=progress is None)
        for first in range(0, len(seeds), batch_size):
            rows = slice(first, first + batch_size)
            path: list[tuple[float, Tensor]] = []
            part = None if cond is None else cond[rows].to(device)
            asked = Recorder(self.denoiser, recorded - first) if first < recorded else None
            x = self._batch(asked or self.denoiser, seeds[rows], times, part, dtype, device,
                            path if trajectory else None)  # fmt: skip
            images.append(x.cpu())
            calls += [] if asked is None else [asked.calls]
            paths.append(path)
            bar.update(len(x))
            if on_batch is not None:
                on_batch(len(x))
        bar.close()
        return Samples(
            torch.cat(images),
            (self.denoiser.evaluations - before) / len(seeds),
            time.perf_counter() - start,
            *_join(paths),
            Calls.join(calls),
        )

    @torch.no_grad()
    def _batch(
        self,
        denoiser: Denoiser,
        seeds: Sequence[int],
        times: Tensor,
        cond: Condition | None,
        dtype: torch.dtype,
        device: torch.device | str,
        path: list[tuple[float, Tensor]] | None,
    ) -> Tensor:
        ask = Ask(self.sde, denoiser, cond)
        noise = self.noise.batch(seeds, denoiser.shape, dtype, device)

        def observe(at: Marginal, x: Tensor) -> None:
            if path is not None:
                path.append((at.t, (x / at.alpha).cpu()))

        x = self.sde.prior(noise.fresh(), times[0])
        x = self.solver.solve(ask, x, times, noise, observe)
        if self.denoise_last:
            return ask.denoise(x, ask.at(float(times[-1])))
        return x / self.sde.alpha(times[-1])


def _join(paths: list[list[tuple[float, Tensor]]]) -> tuple[Tensor | None, Tensor | None]:
    if not paths[0]:
        return None, None
    states = torch.cat([torch.stack([x for _, x in path]) for path in paths], dim=1)
    return states, torch.tensor([t for t, _ in paths[0]], dtype=torch.float64)
