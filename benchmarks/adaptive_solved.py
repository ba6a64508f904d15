"""What the tables of ``adaptive.py`` are made of: starts, exact ends, and what a solver makes."""

from __future__ import annotations

import torch
from adaptive_problems import HARD, PROBLEMS, TUNED
from torch import Tensor

from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.denoisers.closed_form import GaussianDenoiser
from sde_diffusion.process.grids import Karras
from sde_diffusion.process.noise import Noise
from sde_diffusion.process.sde import EDM, SDE
from sde_diffusion.solvers.adaptive.dopri import flow
from sde_diffusion.solvers.base import Solver
from sde_diffusion.solvers.step import Ask

F64 = torch.float64
REQUESTS = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5]
ENDS = torch.tensor([80.0, 0.002], dtype=F64)
HELD_OUT = ["Gaussian of digits", "mixture of digits"]
OTHERS = [name for name in PROBLEMS if name not in (TUNED, *HARD)]


class Unasked(Noise):
    """A probability flow draws nothing."""

    def fresh(self) -> Tensor:
        raise AssertionError("noise was drawn")

    def normal(self, t: float, s: float) -> Tensor:
        raise AssertionError("noise was drawn")

    def entropy(self) -> list[int]:
        raise AssertionError("noise was drawn")


def rms(x: Tensor) -> Tensor:
    return x.flatten(1).square().mean(1).sqrt()


def starts(target: Denoiser, n: int) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return 80 * torch.randn(n, *target.shape, generator=generator, dtype=F64)


def converged(target: Denoiser, start: Tensor) -> Tensor:
    """The exact flow of a Gaussian; of a mixture, the flow to an endpoint error of 1e-9."""
    if isinstance(target, GaussianDenoiser):
        return target.flow(start, *ENDS)
    return flow(Ask(EDM(), target), start, ENDS, 1e-9, "error=1e-9")


def solved(solver: Solver, sde: SDE, target: Denoiser, start: Tensor) -> tuple[Tensor, float]:
    """x / alpha at the end, and evaluations a sample."""
    times, before = Karras().times(sde, 1), target.evaluations
    x = (sde.alpha(times[0]) * start).to(start)
    x = solver.solve(Ask(sde, target), x, times, Unasked()) / sde.alpha(times[-1])
    return x.double(), (target.evaluations - before) / len(start)


def cell(ratio: Tensor, evaluations: float | None = None) -> str:
    """Median / 95 % quantile (most): evaluations."""
    text = f"{ratio.median():.2g} / {ratio.quantile(0.95):.2g} ({ratio.max():.2g})"
    return text if evaluations is None else f"{text}: {evaluations:.0f}"
