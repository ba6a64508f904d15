"""Restart: the inner solver with no repeats, the loop written out, budgets and refusals."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.process.grids import Karras, LogSNR
from sde_diffusion.process.noise import Brownian, Noise, Seeds
from sde_diffusion.solvers.adaptive.dopri import DoPri
from sde_diffusion.solvers.ancestral import Ancestral
from sde_diffusion.solvers.base import StepSolver
from sde_diffusion.solvers.ddim import DDIM
from sde_diffusion.solvers.dpmpp_2m import DPMpp2M
from sde_diffusion.solvers.euler_maruyama import EulerMaruyama
from sde_diffusion.solvers.heun import Heun
from sde_diffusion.solvers.langevin import Langevin
from sde_diffusion.solvers.step import Ask
from sde_diffusion.solvers.unipc import UniPC
from sde_diffusion.solvers.wrappers.restart import Restart
from tests.refusals import refused
from tests.solvers.conftest import SDES, Forbidden, error, mixture

F64 = torch.float64
# Three intervals as published for ImageNet (arXiv:2306.14878), fewer repeats.
MANY = ([0.06, 0.3, 0.59], [0.3, 0.59, 1.09], [3, 4, 5], [4, 0, 2])


@torch.no_grad()
def end(solver: StepSolver[Any], noise: Noise, sde: str = "vp", n: int = 12) -> Tensor:
    times = Karras().times(SDES[sde], n)
    x = SDES[sde].prior(Seeds().start(range(3), (4,), F64), times[0])
    return solver.solve(Ask(SDES[sde], mixture()), x, times, noise)


@pytest.mark.parametrize("inner", [DDIM(), Heun(), UniPC()], ids=lambda s: type(s).__name__)
def test_without_repeats_it_is_its_inner_solver(inner: StepSolver[Any]) -> None:
    none = Restart(inner, repeats=[0])
    assert (none.stochastic, none.order, none.saved) == (False, inner.order, 0)
    assert torch.equal(end(none, Forbidden()), end(inner, Forbidden()))


@pytest.mark.parametrize(
    "inner", [DDIM(), DPMpp2M(), DPMpp2M(lower_order_final=True)], ids=["ddim", "2m", "2m final"]
)
@torch.no_grad()
def test_it_is_the_stated_loop(inner: StepSolver[Any]) -> None:
    """At alpha = 1: four steps, two restarts after the second, two steps; history is new."""
    levels, denoiser, sde = [2.0, 1.0, 0.5, 0.3, 0.2], mixture(), SDES["edm"]
    restart = Restart(inner, [0.6], [1.5], [3], [2], s_noise=1.1)
    ask, times = Ask(sde, denoiser), torch.tensor(levels, dtype=F64)
    x = torch.randn(2, 4, generator=torch.Generator().manual_seed(0), dtype=F64)
    found = restart.solve(ask, x, times, Seeds().batch([1, 2], (4,), F64))

    draws = Seeds().batch([1, 2], (4,), F64)
    a, b = 1.5 ** (1 / 7), 0.5 ** (1 / 7)
    piece = torch.tensor([(a + k / 3 * (b - a)) ** 7 for k in range(4)], dtype=F64)
    seen: list[Tensor] = []
    inner.solve(ask, x, times, Forbidden(), lambda at, x: seen.append(x))
    x = seen[2]
    for _ in range(2):
        x = x + 1.1 * math.sqrt(1.5**2 - 0.5**2) * draws.fresh()
        x = inner.solve(ask, x, piece, draws)
    x = inner.solve(ask, x, times[2:], draws)
    assert torch.allclose(found, x, rtol=1e-11)


@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_any_number_of_steps_has_the_restart(n: int) -> None:
    """r_l is the first level at or below low, the last of the grid if there is no other."""
    sde = SDES["vp"]
    times = Karras().times(sde, n)
    ask = Ask(sde, mixture()).along(times)
    state = Restart(Heun()).init(ask, torch.zeros(1, 4, dtype=F64), ask.steps)
    ((before, piece),) = state.pieces.items()
    index = before + 1
    levels = sde.noise_level(times)
    assert float(levels[index]) <= 0.06 < float(levels[index - 1])
    assert float(sde.noise_level(piece.times[0])) == pytest.approx(0.3, rel=1e-12)
    assert piece.times[-1] == times[index]
    assert len(piece.times) == 3


@pytest.mark.parametrize("k", [0, 2, 4])
@torch.no_grad()
def test_what_is_left_of_a_grid_is_walked_as_if_it_were_all(k: int) -> None:
    """A history of three images and a restart near the end, begun at step k of 8."""
    sde, restart = SDES["vp"], Restart(UniPC(order=3), [0.06], [0.3])
    times = Karras().times(sde, 8)
    ask, x = Ask(sde, mixture()).along(times), torch.ones(2, 4, dtype=F64)
    expected = restart.solve(ask, x, times[k:], Seeds().batch([1, 2], (4,), F64))
    noise, state = Seeds().batch([1, 2], (4,), F64), restart.init(ask, x, ask.steps[k:])
    for step in ask.steps[k:]:
        x, state = restart.step(ask, x, step, state, noise)
    assert torch.equal(x, expected)


def test_a_level_of_the_grid_is_low_whatever_its_time_rounds_to() -> None:
    """Of 30 levels that went to a time and back, some came back higher by a rounding error."""
    sde, x = SDES["vp"], torch.zeros(1, 4, dtype=F64)
    levels = LogSNR(0.01, 10.0).times(SDES["edm"], 30)
    times = sde.time_at(levels)
    assert bool((sde.noise_level(times) > levels).any())
    ask = Ask(sde, mixture()).along(times)
    for k in range(1, 30):
        restart = Restart(DDIM(), [float(levels[k])], [9.0])
        assert list(restart.init(ask, x, ask.steps).pieces) == [k - 1]


class Odd(EulerMaruyama):
    """A deterministic solver with the rarer of each fact."""

    linear, couples_batch, saved, evaluations = False, True, 1, 3


def test_it_is_what_its_inner_solver_is() -> None:
    outer = Restart(Odd(eta=0.0), steps=[4], repeats=[2])
    assert (outer.linear, outer.covariant, outer.couples_batch) == (False, False, True)
    assert not outer.one_step  # an interval has its place in the grid
    assert (outer.evaluations, outer.saved) == (3, 1 - 2 * (4 * 3 - 1))


@pytest.mark.parametrize("inner", [Heun(), UniPC()], ids=lambda s: type(s).__name__)
@torch.no_grad()
def test_the_budget_counts_every_repeat(inner: StepSolver[Any]) -> None:
    solver, denoiser, n = Restart(inner, *MANY), mixture(), 20
    nfe = inner.evaluations * (n + 4 * 3 + 2 * 5)
    assert solver.steps(nfe) == n
    times = Karras().times(SDES["vp"], n)
    x = torch.ones(3, 4, dtype=F64)
    noise = Seeds().batch(range(3), (4,), F64)
    solver.solve(Ask(SDES["vp"], denoiser), x, times, noise)
    assert denoiser.evaluations == 3 * nfe
    with pytest.raises(InputError, match=rf"^nfe=10.*\+{22 * inner.evaluations} in all"):
        solver.steps(10)


@pytest.mark.parametrize("sde", ["vp", "edm"])
def test_its_law_follows_the_inner_order_if_the_repeats_are_refined_too(sde: str) -> None:
    errors = []
    for n in (64, 128):
        solver = Restart(Heun(), [0.06, 0.59], [0.3, 1.09], [n // 8, n // 16], [3, 2])
        errors.append(error(solver, SDES[sde], Karras().times(SDES[sde], n)))
    assert math.log2(errors[0] / errors[1]) > 1.85
    assert errors[1] < 0.01


def test_noise_of_another_size_leaves_another_law() -> None:
    sde = SDES["edm"]
    times = Karras().times(sde, 128)
    right, wrong = (error(Restart(Heun(), steps=[16], s_noise=s), sde, times) for s in (1.0, 1.1))
    assert wrong > 3 * right


def test_every_jump_draws_anew_from_a_brownian_path_too() -> None:
    """The increments of one path over one interval would be the same at each repeat."""
    paths = Brownian().batch([4], (4,), F64)
    draws = [paths.fresh(), paths.fresh()]
    assert not torch.allclose(draws[0], draws[1])
    noise = Brownian().batch([7, 8, 9], (4,), F64)
    assert end(Restart(Heun()), noise).isfinite().all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Restart(Heun(), s_noise=0.0), "s_noise=0.0: give 0 < s_noise <= 10, such as 1.0"),
        (lambda: Restart(Ancestral()), "inner=Ancestral.*deterministic"),
        (lambda: Restart(Langevin()), "inner=Langevin.*deterministic"),
        (lambda: Restart(DoPri()), "inner=DoPri.*fixed steps"),  # type: ignore[arg-type]
        (lambda: Restart(Heun(s_churn=1.0)), "inner=Heun.*s_churn=0"),
        (lambda: Restart(Heun(), repeats=[1, 2]), "low=.*differ in length"),
        (lambda: Restart(Heun(), low=[0.5]), r"low=\[0.5\]: give 1e-9 <= low < high="),
        (lambda: Restart(Heun(), steps=[0]), r"steps=\[0\]"),
        (lambda: Restart(Heun(), repeats=[-1]), r"repeats=\[-1\]"),
        (lambda: Restart(Heun(), rho=0.0), "rho=0.0"),
        (lambda: Restart(Heun(), [0.1, 0.2], [0.3, 0.4], [2, 2], [1, 1]), "high=0.3.*overlap"),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_made(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=rf"^solver\.{message}"):
        make()


def test_two_restarts_of_one_level_are_refused_and_not_overwritten() -> None:
    """Of two steps only the last level is below 0.59, or below 0.06."""
    solver = Restart(Heun(), *MANY)
    with refused("solver.low=0.06", "larger nfe"):
        end(solver, Forbidden(), n=2)
    assert end(solver, Seeds().batch([7, 8, 9], (4,), F64), n=20).isfinite().all()


@pytest.mark.parametrize(("low", "high"), [(0.001, 0.3), (0.06, 90.0), (80 - 1e-8, 80.0)])
def test_an_interval_beyond_the_grid_is_refused(low: float, high: float) -> None:
    with refused("solver.low=", "beyond the grid", "move"):
        end(Restart(Heun(), [low], [high]), Forbidden(), sde="edm")
