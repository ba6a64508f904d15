"""Does the weak order of the stochastic solvers hold where the denoiser is far from linear?"""

from __future__ import annotations

import math
import time
from itertools import pairwise
from typing import Any

import render
import torch
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.config.compose import build, compose_task
from sde_diffusion.denoisers.closed_form import MixtureDenoiser
from sde_diffusion.exact import relative_error
from sde_diffusion.process.grids import LogSNR
from sde_diffusion.process.noise import Noise
from sde_diffusion.process.sde import VE
from sde_diffusion.solvers.base import StepSolver
from sde_diffusion.solvers.step import Ask

# The steps from 10 to 0.05 are those of twice as many from 80 to 0.002.
GRID = LogSNR(0.05, 10.0)
STEPS = [16, 32, 64, 128]
FINE = 6 * STEPS[-1]  # has the stages of two and of three steps of lam as nodes
ROWS, BATCHES = 5_000, 24
SOLVERS = {
    "ancestral": [], "euler_maruyama": [], "dpmpp_2m_sde": [],
    "seeds order=2": [], "seeds order=3": ["solver.order=3"],
    "seeds prediction=noise": ["solver.prediction=noise"],
    "dpmpp_3m_sde": [], "renoise": [], "er_sde order=3": [],
    "er_sde scale=sde": ["solver.scale=sde"],
    "sa_solver": [], "sa_solver tau_max=100": ["solver.tau_max=100.0", "solver.tau_min=0.0"],
    "heun s_churn=20": ["solver.s_churn=20"],
}  # fmt: skip


class SharedPath(Noise):
    """Increments of one Brownian motion on ``FINE`` equal intervals of time, so that a solver's
    runs at different step sizes differ by little, and the mean of the difference is sharp."""

    def __init__(self, t_max: float, t_min: float, generator: torch.Generator) -> None:
        self.t_max, self.width = t_max, (t_max - t_min) / FINE
        steps = torch.randn(FINE, ROWS, 4, generator=generator, dtype=torch.float64)
        self.w = torch.cat([torch.zeros_like(steps[:1]), steps.cumsum(0)])
        self.generator = generator

    def node(self, t: float) -> int:
        place = (self.t_max - t) / self.width
        if abs(place - round(place)) > 1e-6:
            raise ValueError(f"time {t} is no node of the fine path")
        return round(place)

    def normal(self, t: float, s: float) -> Tensor:
        i, j = self.node(t), self.node(s)
        return (self.w[j] - self.w[i]) / (j - i) ** 0.5

    def fresh(self) -> Tensor:
        return torch.randn(ROWS, 4, generator=self.generator, dtype=torch.float64)

    def entropy(self) -> list[int]:
        raise ValueError("a solver of fixed steps needs no entropy")


def mixture() -> MixtureDenoiser:
    """Two unlike components in four dimensions, the mixture of the tests."""
    mean = torch.tensor([0.3, -0.5, 0.2, 0.1], dtype=torch.float64)
    variance = torch.tensor([1.0, 0.25, 0.04, 0.0025], dtype=torch.float64)
    weights = torch.tensor([0.3, 0.7], dtype=torch.float64)
    return MixtureDenoiser(
        weights, torch.stack([mean, -mean.flip(0)]), torch.stack([variance, 0.1 * variance.flip(0)])
    )


def statistics(x: Tensor) -> Tensor:
    """x_k, x_k^2 and cos 3 x_k [N, 12]: what the weak error is measured in."""
    return torch.cat([x, x.square(), torch.cos(3 * x)], dim=1)


@torch.no_grad()
def differences(solvers: dict[str, StepSolver[Any]], seed: int) -> dict[str, Tensor]:
    """f(x of n steps) - f(x of 2n steps) for each doubling, summed over a batch, and squares."""
    sde, generator = VE(), torch.Generator().manual_seed(seed)
    denoiser = mixture()
    first, last = GRID.times(sde, 1)
    noise = SharedPath(float(first), float(last), generator)
    start = denoiser.sample(ROWS, generator) + sde.sigma(first) * noise.fresh()
    found = {}
    for name, solver in solvers.items():
        ends = [
            statistics(solver.solve(Ask(sde, denoiser), start, GRID.times(sde, n), noise))
            for n in STEPS
        ]
        change = torch.stack([a - b for a, b in pairwise(ends)])
        found[name] = torch.stack([change.sum(1), change.square().sum(1)])
    return found


def linear(solver: StepSolver[Any]) -> float:
    """Slope of the exact error on a Gaussian, the wider component, over the last doubling."""
    sde, first = VE(), mixture()
    errors = [
        relative_error(solver, sde, GRID.times(sde, n), first.variances[0], first.means[0])
        for n in STEPS[-2:]
    ]
    return math.log2(errors[0] / errors[1])


def rows(totals: dict[str, Tensor], solvers: dict[str, StepSolver[Any]]) -> list[list[str]]:
    """Size of the mean change at each doubling, its standard error, and the slopes."""
    n = ROWS * BATCHES
    spread = statistics(mixture().sample(200_000, torch.Generator().manual_seed(0))).std(0)
    found = []
    for name, (total, square) in totals.items():
        mean = total / n
        error2 = (square / n - mean**2) / n / spread**2
        # The square of a noisy mean is too large by its variance.
        size2 = (mean**2 / spread**2 - error2).mean(1).clamp_min(0)
        size, error = size2.sqrt().tolist(), error2.mean(1).sqrt().tolist()
        cells = [f"{a:.2e} ± {b:.0e}" for a, b in zip(size, error, strict=True)]
        slopes = [
            f"{math.log2(a / b):.2f} ± {math.hypot(d / a, e / b) / math.log(2):.1f}"
            if b > 2 * e
            else "-"
            for (a, b), (d, e) in zip(pairwise(size), pairwise(error), strict=True)
        ]
        found.append([name, *cells, *slopes, f"{linear(solvers[name]):.2f}"])
        found[-1].append(str(solvers[name].order))
    return found


def main() -> None:
    """Write weak_order.md."""
    begin = time.perf_counter()
    solvers = {}
    for name, words in SOLVERS.items():
        config = compose_task(["task=sample", f"solver={name.split()[0]}", *words])
        solvers[name] = build(config.solver, "solver", StepSolver)
    totals: dict[str, Tensor] = {}
    for seed in tqdm(range(BATCHES), desc="batches"):
        for name, part in differences(solvers, seed).items():
            totals[name] = totals.get(name, 0) + part
    found = rows(totals, solvers)
    doublings = [f"{a} to {b}" for a, b in pairwise(STEPS)]
    head = [
        "solver",
        *doublings,
        *(f"slope {a}, {b}" for a, b in pairwise(doublings)),
        "slope on a Gaussian",
        "declared",
    ]
    values = {
        "samples": ROWS * BATCHES,
        "errors": render.table(head, found),
        "seconds": time.perf_counter() - begin,
    }
    render.page("weak_order", values)


if __name__ == "__main__":
    main()
