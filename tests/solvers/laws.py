"""What a solver computes: the sample, law and order that it must have.

A check raises where a solver breaks its word. A case is the name of a yaml with overrides. The
tests run the checks on the solvers as they are; ``tests/mutants`` runs them on solvers with a bug
put in, and counts the bugs that pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import mean
from typing import Any

import torch
from scipy.integrate import solve_ivp
from scipy.stats import chi2, norm
from torch import Tensor

from sde_diffusion.denoisers.closed_form import GaussianDenoiser, MixtureDenoiser
from sde_diffusion.exact import law, marginal
from sde_diffusion.process.grids import Karras, TimeGrid
from sde_diffusion.process.noise import Noise, Seeds
from sde_diffusion.process.sde import SDE
from sde_diffusion.solvers.base import Solver
from sde_diffusion.solvers.step import Ask
from tests.solvers.configs import Case, fields
from tests.solvers.conftest import MEAN, SDES, VARIANCE, Forbidden, error, make, mixture, walked
from tests.solvers.level_oracles import LEVELS
from tests.solvers.scalars import PROCESSES, Affine, Denoise, Draw
from tests.solvers.time_oracles import TIMES

F64 = torch.float64


class Tape(Noise):
    """Seeded normals, remembered in the order they are drawn, each interval within its step."""

    def __init__(self, seeds: list[int], shape: tuple[int, ...], times: Tensor) -> None:
        self.inner = Seeds().batch(seeds, shape, F64)
        self.drawn: list[Tensor] = []
        self.times = times.tolist()
        self.low = self.times[0]

    def fresh(self) -> Tensor:
        self.drawn.append(self.inner.fresh())
        return self.drawn[-1]

    def normal(self, t: float, s: float) -> Tensor:
        assert self.low >= t > s, "an interval asked twice, or upwards"
        assert not any(s < cut < t for cut in self.times), "an interval over a grid point"
        self.low = s
        return self.fresh()

    def entropy(self) -> list[int]:
        raise AssertionError("an oracle knows normals only")


# One coordinate, two unlike components: far from linear.
WEIGHTS, MEANS, VARIANCES = (0.3, 0.7), (0.8, -0.5), (0.04, 0.01)


def scalar_mixture() -> MixtureDenoiser:
    weights, means, variances = (torch.tensor(v, dtype=F64) for v in (WEIGHTS, MEANS, VARIANCES))
    return MixtureDenoiser(weights, means[:, None], variances[:, None])


def posterior_mean(y: float, r: float) -> float:
    """E[x_0 | x_0 + r n = y] of the scalar mixture, in floats."""
    total = [v + r * r for v in VARIANCES]
    exponents = [-0.5 * (y - m) ** 2 / u for m, u in zip(MEANS, total, strict=True)]
    top = max(exponents)
    share = [
        w * u**-0.5 * math.exp(e - top) for w, u, e in zip(WEIGHTS, total, exponents, strict=True)
    ]
    means = [m + v / u * (y - m) for m, v, u in zip(MEANS, VARIANCES, total, strict=True)]
    return sum(p * d for p, d in zip(share, means, strict=True)) / sum(share)


def predicted(case: Case, sde: str, times: Tensor, y: Any, denoise: Denoise, draw: Draw) -> Any:
    """y = x / alpha at the end, by the solver's oracle."""
    name, options = case[0], fields(case)
    if name in LEVELS:
        levels = SDES[sde].noise_level(times).tolist()
        return LEVELS[name](levels, y, denoise, draw, **options)
    process, t = PROCESSES[sde], times.tolist()
    x = TIMES[name](process, t, process.alpha(t[0]) * y, denoise, draw, **options)
    return x / process.alpha(t[-1])


def grids(solver: Solver, sde: SDE, n: int) -> Tensor:
    """n steps of unequal size in any variable, over all noise levels."""
    return walked(solver, rho=5.0).times(sde, n)


@torch.no_grad()
def check_samples(case: Case, sde: str, seed: int = 0) -> None:
    """Samples of a mixture are those of the scalar recursion on the same draws, to 1e-10."""
    solver, process = make(*case)[0], SDES[sde]
    for n in (1, 2, 7):
        times = grids(solver, process, n)
        rows = [seed * 100 + k for k in range(3)]
        start = Seeds().start(rows, (1,), F64)
        tape = Tape([k + 50 for k in rows], (1,), times)
        ask = Ask(process, scalar_mixture())
        x = solver.solve(ask, process.prior(start, times[0]), times, tape)
        found = (x / process.alpha(times[-1]))[:, 0].tolist()
        for k, y in enumerate((start[:, 0] * process.noise_level(times[0])).tolist()):
            draws = iter([float(z[k, 0]) for z in tape.drawn])
            end = predicted(case, sde, times, y, posterior_mean, lambda d=draws: next(d))
            assert next(draws, None) is None, "more draws than the recursion takes"
            scale = max(1.0, abs(end))
            gap = abs(found[k] - end) / scale
            assert gap <= 1e-10, f"{n} steps: off by {gap:.2g}"


def check_law(case: Case, sde: str) -> None:
    """Mean and variance of each mode of a Gaussian are those of the recursion, to 1e-10.

    One step alone, from level 80 to 0.002, loses more digits than that to cancellation.
    """
    solver, process = make(*case)[0], SDES[sde]
    for n in (2, 9):
        times = grids(solver, process, n)
        found = law(solver, process, times, VARIANCE, MEAN)
        a = float(process.alpha(times[-1]))
        first = float(process.noise_level(times[0]))
        for k, (m, v) in enumerate(zip(MEAN.tolist(), VARIANCE.tolist(), strict=True)):
            drawn = [0]

            def draw(drawn: list[int] = drawn) -> Affine:
                drawn[0] += 1
                return Affine(*[0.0] * (drawn[0] + 1), 1.0)

            end = predicted(
                case, sde, times, Affine(0.0, 1.0),
                lambda y, r, m=m, v=v: m + v / (v + r * r) * (y - m), draw,
            )  # fmt: skip
            centre = end.c[0] + end.c[1] * m
            variance = end.c[1] ** 2 * (v + first**2) + sum(b * b for b in end.c[2:])
            gap = abs(float(found.mean[k]) / a - centre) / max(variance**0.5, abs(centre))
            assert gap <= 1e-10, f"{n} steps, mode {k}: mean off by {gap:.2g}"
            gap = abs(float(found.variance[k]) / a**2 / variance - 1)
            assert gap <= 1e-10, f"{n} steps, mode {k}: variance off by {gap:.2g}"


# Noise levels that the whole process spans, and a part of it where the data weigh at both ends:
# there a start-up or a last step of lower order shows.
WIDE, SHORT = (0.002, 80.0), (0.3, 2.0)


def on(grid: TimeGrid, ends: tuple[float, float]) -> TimeGrid:
    """The grid between other noise levels."""
    grid.sigma_min, grid.sigma_max = ends
    return grid


def last_orders(
    error_at: Callable[[int], float], enough: Callable[[list[float]], bool], most: int
) -> list[float]:
    """Slopes of the last two doublings of the steps: until they are ``enough``, or at ``most``.

    Stops before round-off, at an error of 1e-11.
    """
    errors = [error_at(n) for n in (32, 64)]
    n, slopes = 64, []
    while n < most and errors[-1] > 1e-11:
        n *= 2
        errors.append(error_at(n))
        slopes = [math.log2(a / b) for a, b in zip(errors[-3:], errors[-2:], strict=False)]
        if enough(slopes):
            break
    return slopes


def check_order(case: Case, sde: str) -> None:
    """Exact error of the law on a Gaussian: at least the declared order, and an error that falls.

    Over the last two doublings, on the default grid over all noise levels.
    """
    solver, grid = make(*case)
    declared = solver.order
    assert declared is not None
    slopes = last_orders(
        lambda n: error(solver, SDES[sde], on(grid, WIDE).times(SDES[sde], n)),
        lambda slopes: mean(slopes) >= declared - 0.15,
        1024 if solver.stochastic else 4096,
    )
    assert mean(slopes) >= declared - 0.15, f"declared {declared}, found {slopes}"


def check_order_is_no_other(case: Case, sde: str) -> None:
    """Where start-up and last steps weigh, the slopes are the declared integer to 0.15.

    On a Gaussian the leading error of a flow may vanish: that of the midpoint rule does, in the
    time of EDM. A deterministic solver that is too fast there is measured on the mixture.
    """
    solver, grid = make(*case)
    declared = solver.order
    assert declared is not None

    def off(slopes: list[float]) -> float:
        return max(abs(slope - declared) for slope in slopes)

    slopes = last_orders(
        lambda n: error(solver, SDES[sde], on(grid, SHORT).times(SDES[sde], n)),
        lambda slopes: off(slopes) <= 0.15,
        1024 if solver.stochastic else 4096,
    )
    if not solver.stochastic and min(slopes) > declared + 0.15:
        slopes = orders_of_trajectories(case, sde, SHORT, lambda slopes: off(slopes) <= 0.15)
    assert off(slopes) <= 0.15, f"{declared}, found {slopes}"


@lru_cache
@torch.no_grad()
def trajectory_ends(ends: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """y at the first level and at the last, of the mixture's flow: DOP853 at 1e-12."""
    low, high = ends
    denoiser = mixture()
    generator = torch.Generator().manual_seed(0)
    y = denoiser.sample(4, generator) + high * torch.randn(4, 4, generator=generator, dtype=F64)

    def slope(u: float, flat: Any) -> Any:
        level = torch.tensor(math.exp(u), dtype=F64)
        return flat - denoiser(torch.from_numpy(flat.reshape(4, 4)), level).numpy().ravel()

    span = [math.log(high), math.log(low)]
    found = solve_ivp(slope, span, y.numpy().ravel(), method="DOP853", rtol=1e-12, atol=1e-13)
    return y, torch.from_numpy(found.y[:, -1].reshape(4, 4))


@torch.no_grad()
def orders_of_trajectories(
    case: Case, sde: str, ends: tuple[float, float], enough: Callable[[list[float]], bool]
) -> list[float]:
    """Slopes of a deterministic solver on a mixture, against the converged flow."""
    solver, grid = make(*case)
    process, (y, exact) = SDES[sde], trajectory_ends(ends)

    def error_at(n: int) -> float:
        times = on(grid, ends).times(process, n)
        x = process.alpha(times[0]) * y
        x = solver.solve(Ask(process, mixture()), x, times, Forbidden())
        return float((x / process.alpha(times[-1]) - exact).square().mean().sqrt())

    return last_orders(error_at, enough, 4096)


def check_order_of_trajectories(case: Case, sde: str, ends: tuple[float, float] = WIDE) -> None:
    """A deterministic solver on a mixture, against the converged flow: a Gaussian can flatter."""
    declared = make(*case)[0].order
    assert declared is not None
    slopes = orders_of_trajectories(case, sde, ends, lambda slopes: mean(slopes) >= declared - 0.15)
    assert mean(slopes) >= declared - 0.15, f"declared {declared}, found {slopes}"


@torch.no_grad()
def check_black_box_law(
    case: Case, sde: str, seed: int = 0, rows: int = 4, ends: tuple[float, float] = WIDE
) -> None:
    """Mean and chi-square of 256 copies of each mode a row, at a false alarm rate of 1e-9 each.

    Over all noise levels the start is forgotten; over ``SHORT`` it is not.
    """
    solver, process = make(*case)[0], SDES[sde]
    copies = 256
    denoiser = GaussianDenoiser(VARIANCE.repeat(copies), MEAN.repeat(copies))
    times = on(Karras(), ends).times(process, solver.steps(None))
    noise = Seeds().batch(range(seed * rows, (seed + 1) * rows), (len(denoiser.mean),), F64)
    first = marginal(process, times[0], denoiser.variance, denoiser.mean)
    x = first.mean + first.variance.sqrt() * noise.fresh()
    x = solver.solve(Ask(process, denoiser), x, times, noise)
    last = marginal(process, times[-1], VARIANCE, MEAN)
    z = (x.reshape(-1, len(MEAN)) - last.mean) / last.variance.sqrt()
    within(z, 1e-9)


def within(z: Tensor, p: float) -> None:
    """Each column of z [n, d] is n standard normals, as far as mean and sum of squares tell."""
    n = len(z)
    off = float(z.mean(0).abs().max()) * n**0.5
    assert off <= norm.isf(p / 2), f"mean off by {off:.1f} standard errors"
    squares = z.square().sum(0)
    low, high = chi2.ppf(p / 2, n), chi2.isf(p / 2, n)
    assert low <= float(squares.min()), f"variance ratio {float(squares.min()) / n:.3f}"
    assert float(squares.max()) <= high, f"variance ratio {float(squares.max()) / n:.3f}"
