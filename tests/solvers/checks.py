"""What a solver declares, and takes, and refuses: a check raises where it breaks its word.

See ``laws`` for what it computes. A case is the name of a yaml with overrides.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.config.compose import build
from sde_diffusion.denoisers.closed_form import GaussianDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.process.grids import Karras
from sde_diffusion.process.noise import Noise, Seeds
from sde_diffusion.process.sde import SDE, Marginal
from sde_diffusion.solvers.base import Solver, StepSolver
from sde_diffusion.solvers.langevin import Langevin
from sde_diffusion.solvers.step import Ask
from sde_diffusion.solvers.wrappers.predictor_corrector import PredictorCorrector
from tests.solvers.configs import ORDERLESS, Case, compose
from tests.solvers.conftest import (
    MEAN,
    SDES,
    VARIANCE,
    Averaged,
    Forbidden,
    Labelled,
    make,
    mixture,
    walked,
    with_mean,
)

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
    """x / alpha at the end of the grid that it walks, on a mixture, from the prior of ``seeds``."""
    times = walked(solver).times(sde, solver.steps(budget_of(solver, n)))
    start = Seeds().start(seeds, MEAN.shape, dtype)
    noise = Seeds().batch([noise_seed + 1000 + k for k in seeds], MEAN.shape, dtype)
    x = solver.solve(Ask(sde, mixture()), sde.prior(start, times[0]), times, noise)
    return x / sde.alpha(times[-1])


def near(found: Tensor, expected: Tensor, atol: float, what: str) -> None:
    """Refuses a difference above ``atol``, and anything that is not a number."""
    gap = float((found - expected).abs().max())
    assert gap <= atol, f"{what}: off by {gap:.2g}, tolerance {atol:g}"


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
    # Norms over a batch are taken of 256 numbers or more.
    batch = run(solver, SDES[sde], list(range(5, 69 if solver.couples_batch else 10)))
    alone = torch.cat([run(solver, SDES[sde], [k]) for k in (5, 9)])
    if solver.couples_batch:
        assert not torch.allclose(batch[[0, 4]], alone, rtol=0, atol=1e-4)
    else:
        near(batch[[0, 4]], alone, 1e-10, "sample in a batch")


@torch.no_grad()
def check_one_step(case: Case) -> None:
    """A step sees its own start only, if that is declared: begun anew it is the same step.

    One that cannot begin on what is left of the grid sees more. A stochastic one is
    never asked to begin anew, and a choice of one term remembers nothing.
    """
    solver: Any = make(*case)[0]
    if (solver.one_step and solver.stochastic) or (len(case) > 1 and not solver.one_step):
        return
    sde = SDES["vp"]
    times = walked(solver).times(sde, 6)
    ask, noise = Ask(sde, mixture()), Seeds().batch([1], MEAN.shape, F64)
    start = x = sde.prior(Seeds().start([0], MEAN.shape, F64), times[0])
    whole = solver.solve(ask, start, times, Seeds().batch([1], MEAN.shape, F64))
    ask = ask.along(times)
    for step in ask.steps:
        try:
            state = solver.init(ask, x, ask.steps[step.i :])
        except InputError:
            assert not solver.one_step, "one_step: it cannot begin anew"
            return
        x, _ = solver.step(ask, x, step, state, noise)
    off = float((x - whole).abs().max())
    assert off < 1e-12 if solver.one_step else off > 1e-6, f"one_step: off by {off:.2g}"


def check_order_is_declared(case: Case) -> None:
    """Fixed steps have an order, which the laws measure, but for those known to have none."""
    assert (make(*case)[0].order is None) == (case in ORDERLESS)


@torch.no_grad()
def check_condition(case: Case) -> None:
    """Each row is asked under its own condition, whatever stands beside it."""
    solver, sde = make(*case)[0], SDES["vp"]
    times = walked(solver).times(sde, solver.steps(budget_of(solver, 4)))

    def end(seeds: list[int], labels: list[int]) -> Tensor:
        ask = Ask(sde, Labelled(), Condition.label(labels))
        start = sde.prior(Seeds().start(seeds, MEAN.shape, F64), times[0])
        return solver.solve(ask, start, times, Seeds().batch(seeds, MEAN.shape, F64))

    together, alone = end([1, 2, 3], [0, 1, 0]), end([2], [1])
    near(together[1:2], alone, 1e-10, "sample under its condition")
    assert float((end([2], [0]) - alone).abs().max()) > 1e-6, "the condition is not heard"


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

        def observe(at: Marginal, x: Tensor, seen: list[tuple[float, Tensor]] = seen) -> None:
            seen.append((at.t, x))

        end = solver.solve(Ask(sde, denoiser), x, times, noise, observe)
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
    end = solver.solve(Ask(sde, mixture()), x, times, noise, lambda at, x: seen.append((at.t, x)))
    assert [t for t, _ in seen] == times.tolist()
    assert torch.equal(seen[0][1], start)
    assert torch.equal(seen[1][1], end)
    # Of a longer list of times the first and the last count.
    noise = Seeds().batch([3], MEAN.shape, F64)
    x = sde.prior(noise.fresh(), times[0])
    longer = Karras().times(sde, 3)
    near(solver.solve(Ask(sde, mixture()), x, longer, noise), end, 1e-10, "with more times")


@torch.no_grad()
def check_noise_is_declared(case: Case) -> None:
    """Declared stochastic: other noise, another sample. Else: none is drawn."""
    solver, sde = make(*case)[0], SDES["vp"]
    if solver.stochastic:
        first, second = (run(solver, sde, [1], noise_seed=seed) for seed in (0, 1))
        assert not torch.allclose(first, second, rtol=0, atol=1e-6)
        return
    times = walked(solver).times(sde, solver.steps(budget_of(solver, 6)))
    x = sde.prior(torch.ones(2, len(MEAN), dtype=F64), times[0])
    assert solver.solve(Ask(sde, mixture()), x, times, Forbidden()).isfinite().all()


class Ending(Noise):
    """Seeded normals of each step, until the last step begins; then a corrector's move alone."""

    def __init__(self, rows: int, moves: bool) -> None:
        self.inner = Seeds().batch(range(rows), MEAN.shape, F64)
        self.moves, self.ending = moves, False

    def fresh(self) -> Tensor:
        assert self.moves or not self.ending, "noise of the last step stays in the picture"
        return self.inner.fresh()

    def normal(self, t: float, s: float) -> Tensor:
        assert not self.ending, "noise of the last step stays in the picture"
        return self.inner.normal(t, s)

    def entropy(self) -> list[int]:
        assert not self.ending, "noise of the last step stays in the picture"
        return self.inner.entropy()


def check_last_step_draws_nothing(case: Case) -> None:
    """What a step adds at the end of the grid nothing would take away again."""
    solver = make(*case)[0]
    for n in (1, 2, 6):
        times = walked(solver).times(SDES["vp"], solver.steps(budget_of(solver, n)))
        draws_nothing_at_the_end(solver, times)


@torch.no_grad()
def draws_nothing_at_the_end(solver: Solver, times: Tensor) -> None:
    """The moves of correctors and restarts draw there too: those declare no order."""
    sde, noise = SDES["vp"], Ending(2, moves=solver.order is None)
    x = sde.prior(torch.ones(2, len(MEAN), dtype=F64), times[0])

    def observe(at: Marginal, x: Tensor) -> None:
        noise.ending = at.t == float(times[-2])

    assert solver.solve(Ask(sde, mixture()), x, times, noise, observe).isfinite().all()


@torch.no_grad()
def check_linearity(case: Case) -> None:
    """On a Gaussian the end of a mean start and mean draws is the mean of the ends, or is not."""
    solver, sde = make(*case)[0], SDES["vp"]
    times = walked(solver).times(sde, solver.steps(budget_of(solver, 6)))
    copies = 64  # norms are taken of 256 numbers or more
    denoiser = GaussianDenoiser(VARIANCE.repeat(copies), MEAN.repeat(copies))
    rows = with_mean(Seeds().start([3, 4], denoiser.shape, F64))
    end = solver.solve(Ask(sde, denoiser), rows, times, Averaged(denoiser.shape))
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
    """Any solver of fixed steps predicts for any corrector, unless its move stays at its level."""
    predictor: Any = make(*case)[0]
    if predictor.stays:
        with pytest.raises(InputError, match=r"^solver\.predictor="):
            PredictorCorrector(predictor, Langevin())
        return
    both = PredictorCorrector(predictor, Langevin(snr=0.1, n_steps=2))
    assert isinstance(predictor, StepSolver)
    assert budget_of(both, 5) == budget_of(predictor, 5) + 10  # type: ignore[operator]
    assert run(both, SDES["vp"], [1, 2], 5).isfinite().all()


def check_refusal(name: str, wrong: dict[str, Any]) -> None:
    """A wrong field is refused by its name at construction."""
    node, field = compose(name)[0], next(iter(wrong))
    with pytest.raises(InputError, match=rf"^solver\..*\b{field}="):
        build(OmegaConf.merge(node, wrong), "solver", Solver)
