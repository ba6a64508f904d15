"""What every solver must hold to: a check raises where a solver breaks its word.

A case is the name of a yaml with overrides. The tests run the checks on the solvers as they are;
``tests/mutants`` runs them on solvers with a bug put in, and counts the bugs that pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import mean
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from scipy.integrate import solve_ivp
from scipy.stats import chi2, norm
from torch import Tensor

from sde_diffusion.closed_form import GaussianDenoiser, MixtureDenoiser
from sde_diffusion.config import build
from sde_diffusion.errors import InputError
from sde_diffusion.exact import law, marginal
from sde_diffusion.grid import Karras, TimeGrid
from sde_diffusion.noise import Noise, Seeds
from sde_diffusion.reverse import Reverse
from sde_diffusion.sde import SDE
from sde_diffusion.solvers.base import Solver, StepSolver
from sde_diffusion.solvers.langevin import Langevin
from sde_diffusion.solvers.predictor_corrector import PredictorCorrector
from tests.solvers.configs import Case, compose, fields
from tests.solvers.conftest import (
    MEAN,
    SDES,
    VARIANCE,
    Averaged,
    Forbidden,
    error,
    gaussian,
    make,
    mixture,
    with_mean,
)
from tests.solvers.oracles import LEVELS, PROCESSES, TIMES, Affine, Denoise, Draw

F64 = torch.float64


def budget_of(solver: Any, n: int) -> int | None:
    """Evaluations that make n steps; None for a solver that takes none."""
    return None if solver.adaptive else int(n * solver.evaluations - solver.saved)


@torch.no_grad()
def run(
    solver: Solver,
    sde: SDE,
    seeds: list[int],
    n: int = 6,
    dtype: torch.dtype = F64,
    noise_seed: int = 0,
) -> Tensor:
    """x / alpha at the end of a Karras grid, on a mixture, from the prior of ``seeds``."""
    times = Karras().times(sde, solver.steps(budget_of(solver, n)))
    start = Seeds().batch(seeds, MEAN.shape, dtype).fresh()
    noise = Seeds().batch([noise_seed + 1000 + k for k in seeds], MEAN.shape, dtype)
    x = solver.solve(Reverse(sde, mixture()), sde.prior(start, times[0]), times, noise)
    return x / sde.alpha(times[-1])


def near(found: Tensor, expected: Tensor, atol: float, what: str) -> None:
    """Refuses a difference above ``atol``, and anything that is not a number."""
    gap = float((found - expected).abs().max())
    assert gap <= atol, f"{what}: off by {gap:.2g}, tolerance {atol:g}"


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

    def normal(self, t: Tensor, s: Tensor) -> Tensor:
        high, low = float(t), float(s)
        assert self.low >= high > low, "an interval asked twice, or upwards"
        assert not any(low < cut < high for cut in self.times), "an interval over a grid point"
        self.low = low
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


def grids(sde: SDE, n: int) -> Tensor:
    """n steps of unequal size in any variable, over all noise levels."""
    return Karras(rho=5.0).times(sde, n)


@torch.no_grad()
def check_samples(case: Case, sde: str, seed: int = 0) -> None:
    """Samples of a mixture are those of the scalar recursion on the same draws, to 1e-10."""
    solver, process = make(*case)[0], SDES[sde]
    for n in (1, 2, 7):
        times = grids(process, n)
        rows = [seed * 100 + k for k in range(3)]
        start = Seeds().batch(rows, (1,), F64).fresh()
        tape = Tape([k + 50 for k in rows], (1,), times)
        reverse = Reverse(process, scalar_mixture())
        x = solver.solve(reverse, process.prior(start, times[0]), times, tape)
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
        times = grids(process, n)
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
    """Where start-up and last steps weigh, the slopes are the declared integer to 0.15."""
    solver, grid = make(*case)
    declared = solver.order
    assert declared is not None
    slopes = last_orders(
        lambda n: error(solver, SDES[sde], on(grid, SHORT).times(SDES[sde], n)),
        lambda slopes: max(abs(slope - declared) for slope in slopes) <= 0.15,
        1024 if solver.stochastic else 4096,
    )
    assert max(abs(slope - declared) for slope in slopes) <= 0.15, f"{declared}, found {slopes}"


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
def check_order_of_trajectories(case: Case, sde: str, ends: tuple[float, float] = WIDE) -> None:
    """A deterministic solver on a mixture, against the converged flow: a Gaussian can flatter."""
    solver, grid = make(*case)
    process, (y, exact) = SDES[sde], trajectory_ends(ends)
    declared = solver.order
    assert declared is not None

    def error_at(n: int) -> float:
        times = on(grid, ends).times(process, n)
        x = process.alpha(times[0]) * y
        x = solver.solve(Reverse(process, mixture()), x, times, Forbidden())
        return float((x / process.alpha(times[-1]) - exact).square().mean().sqrt())

    slopes = last_orders(error_at, lambda slopes: mean(slopes) >= declared - 0.15, 4096)
    assert mean(slopes) >= declared - 0.15, f"declared {declared}, found {slopes}"


@torch.no_grad()
def check_black_box_law(case: Case, sde: str, seed: int = 0, rows: int = 4) -> None:
    """Mean and chi-square of 256 copies of each mode a row, at a false alarm rate of 1e-9 each."""
    solver, process = make(*case)[0], SDES[sde]
    copies = 256
    denoiser = GaussianDenoiser(VARIANCE.repeat(copies), MEAN.repeat(copies))
    times = Karras().times(process, solver.steps(None))
    noise = Seeds().batch(range(seed * rows, (seed + 1) * rows), (len(denoiser.mean),), F64)
    first = marginal(process, times[0], denoiser.variance, denoiser.mean)
    x = first.mean + first.variance.sqrt() * noise.fresh()
    x = solver.solve(Reverse(process, denoiser), x, times, noise)
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


def check_covariance(case: Case) -> None:
    """Declared covariant: the same sample on every SDE, to 1e-9, over 6 steps. Else: another."""
    solver = make(*case)[0]
    vp, *others = (run(solver, sde, [1, 2, 3]) for sde in SDES.values())
    if not solver.covariant:
        assert max(float((vp - other).abs().max()) for other in others) > 1e-3
        return
    for other in others:
        # Adaptive steps follow the rounding of their own error estimates.
        near(other, vp, 1e-7 if solver.adaptive else 1e-9, "sample on another SDE")


def check_batch(case: Case, sde: str) -> None:
    """Not declared to couple its batch: a sample alone is the same sample."""
    solver = make(*case)[0]
    batch = run(solver, SDES[sde], [5, 6, 7, 8, 9])
    alone = torch.cat([run(solver, SDES[sde], [k]) for k in (5, 9)])
    if solver.couples_batch:
        assert not torch.allclose(batch[[0, 4]], alone, rtol=0, atol=1e-4)
    else:
        near(batch[[0, 4]], alone, 1e-10, "sample in a batch")


def check_finite(case: Case, sde: str) -> None:
    """Few steps and many give numbers."""
    solver = make(*case)[0]
    for n in (1, 2, 3, 10):
        assert run(solver, SDES[sde], [1, 2], n).isfinite().all(), f"{n} steps"


def check_dtype(case: Case, sde: str) -> None:
    """float32 is kept, and agrees within 2 % of the state's scale with float64.

    Random paths of adaptive steps need not agree.
    """
    solver = make(*case)[0]
    single = run(solver, SDES[sde], [1, 2, 3], dtype=torch.float32)
    assert single.dtype == torch.float32
    assert single.isfinite().all()
    if not (solver.stochastic and solver.adaptive):
        double = run(solver, SDES[sde], [1, 2, 3])
        scale = max(1.0, float(double.abs().max()))
        near(single.double(), double, 0.02 * scale, "float32")


@torch.no_grad()
def check_budget(case: Case) -> None:
    """As many evaluations as were asked for; every state is observed, its time beside it."""
    solver, grid = make(*case)
    sde, rows = SDES["vp"], 3
    for n in (1, 2, 7):
        denoiser = mixture()
        seen: list[tuple[float, Tensor]] = []
        nfe = budget_of(solver, n)
        assert nfe is not None
        times = grid.times(sde, solver.steps(nfe))
        assert len(times) == n + 1
        noise = Seeds().batch(range(rows), MEAN.shape, F64)
        x = sde.prior(noise.fresh(), times[0])

        def observe(t: Tensor, x: Tensor, seen: list[tuple[float, Tensor]] = seen) -> None:
            seen.append((float(t), x))

        end = solver.solve(Reverse(sde, denoiser), x, times, noise, observe)
        assert denoiser.evaluations == nfe * rows
        assert [t for t, _ in seen] == times.tolist()
        assert torch.equal(seen[0][1], x)
        assert torch.equal(seen[-1][1], end)


def check_refused_budgets(case: Case) -> None:
    """A budget that buys no whole step is refused; the message names budgets that do."""
    solver: Any = make(*case)[0]
    wrong: list[int | None] = [None, 0, -2]
    wrong += [budget_of(solver, 3) + k for k in range(1, solver.evaluations)]  # type: ignore[operator]
    for nfe in wrong:
        with pytest.raises(InputError, match=r"^nfe=") as refusal:
            solver.steps(nfe)
        words = str(refusal.value).partition("give one of ")[2].strip("[]")
        near_ones = [int(word) for word in words.split(",")] if words else []
        assert bool(near_ones) == (nfe is not None)
        assert all(solver.steps(near_one) >= 1 for near_one in near_ones)
        if nfe is not None and nfe > 0:
            assert near_ones[0] < nfe < near_ones[1]


@torch.no_grad()
def check_takes_no_budget(case: Case) -> None:
    """An adaptive solver refuses a budget, and shows its start and its end."""
    solver, sde = make(*case)[0], SDES["vp"]
    with pytest.raises(InputError, match=r"^nfe=10.*rtol"):
        solver.steps(10)
    assert solver.steps(None) == 1
    times = Karras().times(sde, 1)
    seen: list[tuple[float, Tensor]] = []
    noise = Seeds().batch([3], MEAN.shape, F64)
    x = sde.prior(noise.fresh(), times[0])
    start = x.clone()
    end = solver.solve(
        Reverse(sde, mixture()), x, times, noise, lambda t, x: seen.append((float(t), x))
    )
    assert [t for t, _ in seen] == times.tolist()
    assert torch.equal(seen[0][1], start)
    assert torch.equal(seen[1][1], end)


@torch.no_grad()
def check_noise_is_declared(case: Case) -> None:
    """Declared stochastic: other noise, another sample. Else: none is drawn."""
    solver, sde = make(*case)[0], SDES["vp"]
    if solver.stochastic:
        first, second = (run(solver, sde, [1], noise_seed=seed) for seed in (0, 1))
        assert not torch.allclose(first, second, rtol=0, atol=1e-6)
        return
    times = Karras().times(sde, solver.steps(budget_of(solver, 6)))
    x = sde.prior(torch.ones(2, len(MEAN), dtype=F64), times[0])
    assert solver.solve(Reverse(sde, mixture()), x, times, Forbidden()).isfinite().all()


@torch.no_grad()
def check_linearity(case: Case) -> None:
    """On a Gaussian the end of a mean start and mean draws is the mean of the ends, or is not."""
    solver, sde = make(*case)[0], SDES["vp"]
    times = Karras().times(sde, solver.steps(budget_of(solver, 6)))
    rows = with_mean(Seeds().batch([3, 4], MEAN.shape, F64).fresh())
    end = solver.solve(Reverse(sde, gaussian()), rows, times, Averaged())
    off = float((end - with_mean(end[:2])).abs().max())
    assert off < 1e-9 if solver.linear else off > 1e-7, f"linear: off by {off:.2g}"


def check_nothing_is_kept(case: Case) -> None:
    """A run leaves the solver as it was, and the next is the same."""
    solver = make(*case)[0]
    before = dict(vars(solver))
    first = run(solver, SDES["edm"], [1, 2])
    assert vars(solver) == before
    assert torch.equal(first, run(solver, SDES["edm"], [1, 2]))


def check_predictor(case: Case) -> None:
    """Any solver of fixed steps predicts for any corrector."""
    predictor: Any = make(*case)[0]
    both = PredictorCorrector(predictor, Langevin(snr=0.1, n_steps=2))
    assert isinstance(predictor, StepSolver)
    assert budget_of(both, 5) == budget_of(predictor, 5) + 10  # type: ignore[operator]
    assert run(both, SDES["vp"], [1, 2], 5).isfinite().all()


def check_refusal(name: str, wrong: dict[str, Any]) -> None:
    """A wrong field is refused by its name at construction."""
    node, field = compose(name)[0], next(iter(wrong))
    with pytest.raises(InputError, match=rf"^solver\..*\b{field}="):
        build(OmegaConf.merge(node, wrong), "solver", Solver)
