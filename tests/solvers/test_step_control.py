"""Adaptive solvers step by step: each again in plain floats, for one equation."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from scipy.integrate import RK45
from torch import Tensor

from sde_diffusion.process.grids import Karras
from sde_diffusion.process.noise import RevealedPath, Seeds
from sde_diffusion.solvers.adaptive.adaptive_sde import AdaptiveSDE
from sde_diffusion.solvers.adaptive.dopri import DoPri, flow
from sde_diffusion.solvers.adaptive.dormand_prince import dormand_prince
from sde_diffusion.solvers.step import Ask
from tests.solvers.conftest import SDES
from tests.solvers.laws import posterior_mean, scalar_mixture

F64 = torch.float64
Slope = Callable[[float, float], float]


def again(
    slope: Slope, y: float, ends: tuple[float, float], allowed: Slope, first: float
) -> tuple[float, list[float]]:
    """Dormand-Prince 5(4) with scipy's coefficients: the end, and every u that is asked.

    h grows by 0.9 error^(-1/5), between 0.2 and 5, after a refused step at most by 0.9.
    """
    length, sign = abs(ends[1] - ends[0]), math.copysign(1, ends[1] - ends[0])
    gone, step, asked = 0.0, min(first, length), [ends[0]]
    known = slope(ends[0], y)
    while length - gone > 1e-12 * max(1.0, length):
        h, k = min(step, length - gone), [known]
        for c, row in zip([*RK45.C[1:], 1.0], [*RK45.A[1:], RK45.B], strict=True):
            u = ends[0] + sign * min(gone + c * h, length)
            stage = y + sign * h * sum(w * v for w, v in zip(row, k, strict=False))
            asked.append(u)
            k.append(slope(u, stage))
        left = sum(e * v for e, v in zip(RK45.E, k, strict=True))
        error = abs(h * left) / allowed(ends[0] + sign * gone, max(abs(y), abs(stage)))
        growth = min(max(0.9 * error**-0.2, 0.2), 5.0)
        if error <= 1:
            gone, y, known = gone + h, stage, k[-1]
        else:
            growth = min(growth, 0.9)
        step = h * growth
    return y, asked


@pytest.mark.parametrize("first", [1e-3, 1.5])
@pytest.mark.parametrize("ends", [(0.0, 2.0), (2.0, 0.0)])
@torch.no_grad()
def test_dormand_prince_takes_the_stated_steps(ends: tuple[float, float], first: float) -> None:
    """Up and down over a spike: from a first step that grows fast, and from one that is refused."""
    found: list[float] = []

    def spike(u: float, y: float) -> float:
        return 1 / (0.01 + (u - 0.6) ** 2) - 0.5 * y

    def slope(y: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        found.append(float(u))
        return torch.tensor([[spike(float(u), float(y))]], dtype=F64), torch.tensor([True])

    y, asked = again(spike, 1.0, ends, lambda u, y: 1e-4 * (1 + u), first)
    end = dormand_prince(
        lambda rows: slope, torch.ones(1, 1, dtype=F64), torch.tensor(ends, dtype=F64),
        lambda error, y, y_new, u: error.abs()[:, 0] / (1e-4 * (1 + u)), first, "x=1",
    )  # fmt: skip
    assert found == pytest.approx(asked, rel=1e-9, abs=1e-12)
    assert float(end) == pytest.approx(y, rel=1e-11)


@pytest.mark.parametrize("sde", ["vp", "edm"])
@torch.no_grad()
def test_dopri_within_local_tolerances_is_that_recursion(sde: str) -> None:
    """dy/du = y - D(y, e^u) with rtol and atol; the first step tried is rtol^(1/5)."""
    process, denoiser, (rtol, atol) = SDES[sde], scalar_mixture(), (1e-3, 1e-4)
    times = Karras().times(process, 1)
    start = Seeds().start(range(3), (1,), F64)
    x = process.prior(start, times[0])
    found = DoPri(rtol=rtol, atol=atol).solve(Ask(process, denoiser), x, times, None)  # type: ignore[arg-type]
    levels, evaluations = process.noise_level(times).log().tolist(), 0
    for k in range(3):
        y, asked = again(
            lambda u, y: y - posterior_mean(y, math.exp(u)),
            float(x[k] / process.alpha(times[0])), (levels[0], levels[1]),
            lambda u, y: atol + rtol * y, rtol**0.2,
        )  # fmt: skip
        evaluations += len(asked)
        assert float(found[k] / process.alpha(times[-1])) == pytest.approx(y, abs=1e-9)
    assert denoiser.evaluations == evaluations


@pytest.mark.parametrize("error", [1e-2, 1e-7])
@pytest.mark.parametrize("up", [False, True], ids=["down", "up"])
@torch.no_grad()
def test_the_flow_for_a_requested_error_is_that_recursion(up: bool, error: float) -> None:
    """A step may do 0.025 error max(error, 1e-6)^-0.2 sqrt(1 + sigma^2) down, or sigma in place of
    the root up; the first step tried is error^(1/5)."""
    levels = torch.tensor([0.05, 4.0] if up else [4.0, 0.05], dtype=F64)
    denoiser, y = scalar_mixture(), torch.tensor([[0.3], [-0.9]], dtype=F64)
    found = flow(Ask(SDES["edm"], denoiser), y, levels, error, "error=1")
    share = 0.025 * error * max(error, 1e-6) ** -0.2

    def allowed(u: float, y: float) -> float:
        return share * (math.exp(u) if up else math.hypot(1, math.exp(u)))

    evaluations = 0
    for k in range(2):
        expected, asked = again(
            lambda u, y: y - posterior_mean(y, math.exp(u)),
            float(y[k]), (math.log(levels[0]), math.log(levels[1])), allowed, error**0.2,
        )  # fmt: skip
        evaluations += len(asked)
        assert float(found[k]) == pytest.approx(expected, abs=1e-9)
    assert denoiser.evaluations == evaluations


def sde_again(y: float, ends: tuple[float, float], seed: int, eta: float) -> float:
    """The adaptive SDE solver for one sample: exponential Euler, its correction, its steps, along
    the path of ``seed`` from clock 1.

    h grows by 0.8 error^(-2/3), between 0.2 and 3, after a refused step at most by 0.8, to 3.2.
    """
    first, last = ends
    a, v, step = 1 + eta**2, first, min(0.1 * (last - first), 3.2)
    d = posterior_mean(y, math.exp(-v))
    path = RevealedPath([seed], (), torch.ones(1, dtype=F64))
    while v < last:
        end = min(v + step, last)
        h, clock = end - v, math.exp(2 * eta**2 * (end - first))
        increment = float(path.ahead(torch.tensor([clock], dtype=F64)))
        decay = math.exp(-a * h)
        euler = decay * y + (1 - decay) * d + math.exp(-a * (end - first) - first) * increment
        d_end = posterior_mean(euler, math.exp(-end))
        corrected = euler + (1 - (1 - decay) / (a * h)) * (d_end - d)
        error = abs(corrected - euler) / (ATOL + RTOL * math.exp(-end))
        growth = min(max(0.8 * max(error, 1e-10) ** (-2 / 3), 0.2), 3.0)
        if error <= 1:
            y, d, v = corrected, d_end, end
            path.advance(torch.tensor([True]))
        else:
            growth = min(growth, 0.8)
        step = min(h * growth, 3.2)
    return y


RTOL, ATOL = 0.03, 0.01  # Rounding moves the steps, and with them the path, by little.


@pytest.mark.parametrize("eta", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("sde", ["vp", "edm"])
@torch.no_grad()
def test_the_adaptive_sde_is_that_recursion_on_its_path(sde: str, eta: float) -> None:
    process, seeds = SDES[sde], range(4)
    times = Karras().times(process, 1)
    x = process.prior(Seeds().start(seeds, (1,), F64), times[0])
    solver, noise = AdaptiveSDE(RTOL, ATOL, eta), Seeds().batch(seeds, (1,), F64)
    found = solver.solve(Ask(process, scalar_mixture()), x, times, noise)
    first, last = process.lam(times).tolist()
    for k, seed in enumerate(Seeds().batch(seeds, (1,), F64).entropy()):
        y = float(x[k] / process.alpha(times[0]))
        expected = sde_again(y, (first, last), seed, eta)
        assert float(found[k] / process.alpha(times[-1])) == pytest.approx(expected, abs=1e-6)
