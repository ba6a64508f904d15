"""Calibration: parts against closed forms and finite differences, the whole by what it wins."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

import pytest
import torch

from sde_diffusion.calibration import Settings, Trajectories, calibrate
from sde_diffusion.calibration.baselines import ALL, GRIDS, SOLVERS, as_rule, standard_ends
from sde_diffusion.calibration.greedy import greedy
from sde_diffusion.calibration.least_squares import LeastSquares
from sde_diffusion.calibration.normal_law import normal_law
from sde_diffusion.calibration.refine import DIFFERENCE, Fit, Parameters
from sde_diffusion.calibration.search import Search, karras, searched, snapped
from sde_diffusion.calibration.trajectory import trajectories
from sde_diffusion.calibration.twin import mixture_twin
from sde_diffusion.conditions.condition import Condition
from sde_diffusion.data import Digits
from sde_diffusion.denoisers.closed_form import GaussianDenoiser
from sde_diffusion.denoisers.function import FunctionDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.guidance import ClassifierFree, Guided
from sde_diffusion.process.noise import Seeds
from sde_diffusion.process.sde import EDM
from sde_diffusion.solvers.calibrated.normal import Normal
from sde_diffusion.solvers.calibrated.rule import Rule
from sde_diffusion.solvers.ddim import DDIM
from sde_diffusion.solvers.step import Ask
from sde_diffusion.solvers.wrappers.restart import Restart
from tests.calibration.conftest import mixture
from tests.refusals import refused

SETTINGS = Settings(noises=160, held_out=80, budget=30, batch_size=160)


def problem(known: Trajectories, rows: slice = slice(0, 160)) -> LeastSquares:
    law = normal_law(mixture(), known, 4, 320)
    return LeastSquares.of(mixture(), law, known[rows], 64, lambda evaluations: None)


def test_trajectories_start_at_the_noise_of_their_seeds_and_are_converged() -> None:
    variance = torch.tensor([1.0, 0.04], dtype=torch.float64)
    denoiser = GaussianDenoiser(variance)
    heard: list[int] = []
    found = trajectories(denoiser, range(5), None, 64, 0.002, 80.0, 3, heard=heard.append)
    exact = denoiser.flow(found.noise.double(), torch.tensor(80.0), torch.tensor(0.002))
    assert torch.allclose(found.images.double(), exact, atol=1e-3)
    assert sum(heard) == denoiser.evaluations == 5 * 64
    assert len(found[slice(1, 3)]) == 2


def test_a_walk_that_reuses_its_beginning_is_the_whole_walk(known: Trajectories) -> None:
    p = problem(known, slice(0, 9))
    rule, path = greedy(p, known[slice(0, 9)], [8, 30, 45, 64])
    for keep in range(-1, 4):
        again = p.walk(rule, path, keep)
        assert torch.equal(again.end, path.end)
    assert p.walk(rule).seen.residuals[0].shape == (9, 4)


def test_the_jacobian_is_that_of_central_differences(known: Trajectories) -> None:
    p = problem(known, slice(0, 16))
    rule, _ = greedy(p, known[slice(0, 16)], [10, 30, 45, 64])
    noise = p.noise.double()
    double = LeastSquares(p.denoiser, p.normal.law.rows(noise, None), p.sigma_max, noise,
                          p.target.double(), None, 64, lambda evaluations: None)  # fmt: skip
    fit = Fit(double, rule, double.walk(rule), 0.002)
    before = p.denoiser.evaluations
    for block in range(len(fit.blocks)):
        fit.differentiate(block)
    assert p.denoiser.evaluations - before == 16 * (fit.cost + rule.n)
    parameters = Parameters(rule, 0.002, 80.0)
    theta = parameters.zero()
    jacobian = torch.cat(fit.jacobians, dim=1)
    assert len(jacobian) == len(theta) == 1 + 3 + 6 + 3
    for p_, row in enumerate(jacobian):
        ends = []
        for sign in (1, -1):
            moved = theta.clone()
            moved[p_] += sign * 1e-4
            ends.append(double.walk(parameters.rule(moved)).end.flatten())
        central = (ends[0] - ends[1]) / 2e-4
        assert float((row - central).norm()) <= 50 * DIFFERENCE * float(central.norm()) + 1e-6


def test_the_jacobian_of_all_noises_is_that_of_their_blocks(known: Trajectories) -> None:
    p = problem(known, slice(0, 16))
    rule, path = greedy(p, known[slice(0, 16)], [10, 30, 45, 64])
    whole = Fit(p, rule, path, 0.002, blocks=1)
    whole.differentiate(0)
    parts = Fit(p, rule, path, 0.002, blocks=3)
    assert [(b.start, b.stop) for b in parts.blocks] == [(0, 5), (5, 10), (10, 16)]
    spent = p.denoiser.evaluations
    for block in range(3):
        parts.differentiate(block)
    assert p.denoiser.evaluations - spent == 16 * (parts.cost + rule.n)
    assert torch.allclose(parts.path.end, path.end, atol=1e-6)
    joined = torch.cat([parts.jacobians[b] for b in range(3)], dim=1)
    # float32: a difference of 2e-3 leaves the answers' rounding 500 times larger
    assert torch.allclose(joined, whole.jacobians[0], atol=2e-3 * float(joined.abs().max()))
    for fit in (whole, parts):
        gained, _ = fit.steps(1e-2, most=2)
        loss = p.huber(fit.path.end, p.knee(path.end))
        assert gained == pytest.approx(1 - loss / p.huber(path.end), abs=1e-6)
        assert gained > 0


def test_parameters_keep_levels_in_order_and_in_range() -> None:
    levels = torch.tensor([5.0, 1.0, 0.1, 0.002], dtype=torch.float64)
    rule = Rule(levels, levels[:-1].clone(), torch.eye(3).double())
    parameters = Parameters(rule, 0.002, 80.0)
    assert torch.equal(parameters.rule(parameters.zero()).weights, rule.weights)
    wild = parameters.zero()
    wild[0], wild[1], wild[3] = -9.0, 9.0, -9.0
    found = parameters.rule(wild)
    assert float(found.levels[0]) > float(found.levels[1])
    assert float(found.asked.max()) <= 80.0
    assert float(found.asked.min()) >= 0.002


def test_grids_lie_on_the_reference(known: Trajectories) -> None:
    for first, last in ((80.0, 0.002), (3.0, 0.1), (0.01, 0.01)):
        nodes = karras(known.levels, 5, first, last, 7.0)
        assert len(nodes) == 6
        assert list(nodes) == sorted(set(nodes))
        assert nodes[-1] == 64
    assert snapped(known.levels, known.levels[[3, 3, 64]]) == (3, 4, 64)


def test_the_search_ends_where_no_neighbour_is_better_or_when_its_tries_are_spent(
    known: Trajectories,
) -> None:
    p, few = problem(known, slice(0, 32)), known[slice(0, 32)]
    search = Search(p, few, 10**4)
    search.grids(3)
    by_shape = min(search.losses.values())
    search.nodes()
    least = min(search.losses.values())
    assert search.best is not None
    assert least < by_shape
    for nodes in search._neighbours(1):
        _, path = greedy(p, few, nodes)
        assert p.huber(path.end) >= least
    short = Search(p, few, 7)
    short.grids(3)
    short.nodes()
    assert len(short.losses) == 7
    assert len(searched(p, few, 3, 1)) == 4


def test_a_greedy_fit_that_takes_over_a_beginning_is_the_whole_fit(known: Trajectories) -> None:
    p, few = problem(known, slice(0, 9)), known[slice(0, 9)]
    before = [8, 30, 45, 64], greedy(p, few, [8, 30, 45, 64])[1]
    spent = p.denoiser.evaluations
    rule, path = greedy(p, few, [8, 30, 50, 64], before)
    assert p.denoiser.evaluations - spent == 9  # of three answers a noise two are known
    again, whole = greedy(p, few, [8, 30, 50, 64])
    assert torch.equal(path.end, whole.end)
    assert torch.equal(rule.weights, again.weights)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("name", SOLVERS)
def test_a_standard_solver_is_a_rule(name: str, grid: str) -> None:
    """Exact in float64, whatever its formulas are: read off the solver itself."""
    solver, denoiser = SOLVERS[name], mixture()
    levels = GRIDS[grid](sigma_min=0.002, sigma_max=80.0).times(EDM(), 6)
    noise = Seeds().batch(range(5), (4,), torch.float64)
    y = 80 * noise.fresh()
    exact = solver.solve(Ask(EDM(), denoiser), y, levels, noise)
    spent = denoiser.evaluations
    rule = as_rule(solver, levels)
    law = Normal.of(torch.randn(9, 4), 4).rows(y, None)
    p = LeastSquares(denoiser, law, 80.0, y, y, None, 64, lambda e: None)
    assert torch.allclose(p.walk(rule).end, exact, atol=1e-11)
    assert denoiser.evaluations == 2 * spent
    with pytest.raises(InputError, match="no linear map"):
        as_rule(Restart(DDIM()), levels)


def test_the_normal_law_has_the_models_own_means() -> None:
    """Of each class of two, about which the covariance is; of all, if classes are too small."""
    means = torch.tensor([[3.0, 0.0], [-3.0, 1.0]], dtype=torch.float64)
    variance = torch.tensor([1.0, 0.04], dtype=torch.float64)

    def denoise(y: torch.Tensor, sigma: torch.Tensor, cond: Condition | None) -> torch.Tensor:
        assert cond is not None
        centre = means[cond.parts["label"].value].to(y)
        return centre + variance.to(y) / (variance.to(y) + sigma**2) * (y - centre)

    class Classes(FunctionDenoiser):
        def denoise(self, x, sigma, cond):  # type: ignore[no-untyped-def]
            return denoise(x, sigma.to(x), cond)

    asked = Classes(lambda x, sigma: x, (2,))
    cond = Condition.label([k % 2 for k in range(400)])
    known = trajectories(asked, range(400), cond, 32, 0.002, 80.0, 400)
    law = normal_law(asked, known, 2, 128)
    assert torch.equal(law.labels, torch.tensor([0, 1]))
    assert torch.allclose(law.means, means, atol=5e-3)
    assert torch.allclose(law.mean, means.mean(0), atol=5e-3)
    assert law.scale == pytest.approx(1.0, rel=0.15)  # 400 images, 4 standard errors
    few = normal_law(asked, known[slice(0, 6)], 2, 128)
    assert len(few.labels) == 0
    assert few.scale > 2


SETS = [range(first, first + 320) for first in range(0, 1600, 320)]


def won(seeds: range, calls: int) -> tuple[float, float]:
    """Of a rule, on noises that it never saw: its error over that of the best standard solver, and
    its loss over that of the greedy fit that it started from."""
    known = trajectories(mixture(), seeds, None, 64, 0.002, 80.0, 320)
    law = normal_law(mixture(), known, 4, 320)
    few = replace(SETTINGS, tries=12)
    made, plain = (
        calibrate(mixture(), known[slice(0, 240)], calls, settings, law, 0.002)
        for settings in (few, replace(few, budget=0))
    )
    levels = made.rule.levels.tolist()
    assert levels == sorted(levels, reverse=True)
    assert levels[-1] == pytest.approx(0.002)
    fresh = problem(known, slice(240, 320))
    ends = standard_ends(mixture(), seeds[240:], None, calls, 0.002, 80.0, ALL)
    end, first = (fresh.walk(one.rule).end for one in (made, plain))
    knee = fresh.knee(first)
    best = min(fresh.rmse(x) for x in ends.values())
    return fresh.rmse(end) / best, fresh.huber(end, knee) / fresh.huber(first, knee)


@pytest.mark.parametrize("calls", [3, 5])
def test_a_rule_beats_every_standard_solver_on_noises_it_never_saw(calls: int) -> None:
    """In the median of five sets of 320 noises, on the mixture; so does the joint fit a greedy one
    of few tries.

    How much is a matter of the noises. Thirty sets, with 3 and 5 evaluations: the error was .08 to
    .90 and .04 to 1.44 of the best standard solver's, medians .48 and .11; the loss .05 to 1.27 and
    .11 to 1.52 of the greedy fit's, medians .64 and .52. Of 999 in 1000 choices of five of them the
    median is below .85 for the error, and not above 1.09 for the loss.
    """
    errors, losses = zip(*(won(seeds, calls) for seeds in SETS), strict=True)
    assert median(errors) < 0.85
    assert median(losses) < 1


def test_where_a_greedy_fit_fails_the_joint_fit_starts_from_a_standard_solver(
    known: Trajectories,
) -> None:
    """One grid tried, on 8 noises: the rule is the best of the standard ones."""
    law = normal_law(mixture(), known, 4, 320)
    poor = Settings(noises=8, held_out=64, budget=0, tries=1)
    made = calibrate(mixture(), known[slice(0, 72)], 12, poor, law, 0.002)
    solver, _, grid = min(made.standard, key=made.standard.__getitem__).partition(" ")
    levels = GRIDS[grid](sigma_min=0.002, sigma_max=80.0).times(EDM(), 12)
    assert torch.allclose(made.rule.weights, as_rule(SOLVERS[solver], levels).weights)
    assert made.error == made.standard[f"{solver} {grid}"]


def test_a_calibration_is_a_function_of_its_settings(known: Trajectories) -> None:
    law = normal_law(mixture(), known, 4, 320)
    short = Settings(noises=32, held_out=16, budget=10)
    a, b = (calibrate(mixture(), known[slice(0, 48)], 3, short, law, 0.002) for _ in range(2))
    assert torch.equal(a.rule.weights, b.rule.weights)
    assert torch.equal(a.rule.asked, b.rule.asked)


def test_bands_are_kept_only_if_held_out_noises_gain(known: Trajectories) -> None:
    law = normal_law(mixture(), known, 4, 320)
    scalar = calibrate(mixture(), known[slice(0, 240)], 3, SETTINGS, law, 0.002)
    banded = Settings(noises=160, held_out=80, budget=30, mode="per_mode", batch_size=160)
    per_mode = calibrate(mixture(), known[slice(0, 240)], 3, banded, law, 0.002)
    assert per_mode.error <= scalar.error * (1 + 1e-6)
    if per_mode.rule.last is not None:
        assert per_mode.rule.last.shape == (2, 3)


def test_a_twin_is_the_denoiser_of_its_data() -> None:
    """One component: the Gaussian of the data; more come nearer to the data at low noise."""
    data = replace(Digits().load(), labels=None)
    x = data.images.flatten(1).double() / 127.5 - 1
    one = mixture_twin(data, 1, 0.002, 80.0)
    variance, basis = torch.linalg.eigh(torch.cov(x.T, correction=0))
    exact = GaussianDenoiser(variance.clamp_min(0) + 1e-4, x.mean(0), basis)
    y, sigma = 2 * torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0)), 1.0
    found = one(y, torch.tensor(sigma)).flatten(1)
    assert torch.allclose(found.double(), exact(y.flatten(1).double(), torch.tensor(sigma)),
                          atol=1e-3)  # fmt: skip
    ten = mixture_twin(data, 10, 0.002, 80.0)
    noisy = data.images[:200].float() / 127.5 - 1
    clean, noise = noisy.clone(), torch.randn(200, 1, 8, 8, generator=torch.Generator())
    errors = [float((twin(clean + 0.5 * noise, torch.tensor(0.5)) - clean).norm())
              for twin in (one, ten)]  # fmt: skip
    assert errors[1] < 0.95 * errors[0]


def test_a_twin_of_labelled_data_answers_a_label_as_the_twin_of_that_class_would() -> None:
    data = Digits().load()
    assert data.labels is not None
    both = mixture_twin(data, 2, 0.002, 80.0)
    y = 2 * torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    level = torch.tensor(1.0)
    for label in (0, 7):
        inside = replace(data[data.labels == label], labels=None)
        alone = mixture_twin(inside, 1, 0.002, 80.0)
        one = mixture_twin(data, 1, 0.002, 80.0)(y, level, Condition.label([label] * 4))
        assert torch.allclose(one, alone(y, level), atol=1e-4)
    plain, dropped = both(y, level), both(y, level, Condition.label([-1] * 4))
    assert torch.equal(plain, dropped)
    given = both(y, level, Condition.label([0, 1, 2, 3]))
    assert float((given - plain).norm()) > 0.1
    guided = Guided(both, ClassifierFree(2.0))(y, level, Condition.label([0, 1, 2, 3]))
    assert torch.allclose(guided, 2 * given - plain, atol=1e-5)
    with refused("label=10", "one of [0, 1, 2"):
        both.check_condition(Condition.label([10] * 4))
    with refused("twin=15", "from 1 to 14", "rarest class"):
        mixture_twin(data, 15, 0.002, 80.0)
    with pytest.raises(InputError, match=r"^twin: [1-9] images of a class"):
        mixture_twin(data[slice(0, 60)], 1, 0.002, 80.0)


@pytest.mark.parametrize(
    ("wrong", "key"),
    [({"noises": 2}, "noises=2"), ({"budget": -1}, "budget=-1"), ({"tries": 0}, "tries=0"),
     ({"mode": "x"}, "mode=x"),
     ({"batch_size": 0}, "batch_size=0")],
)  # fmt: skip
def test_settings_that_make_no_calibration_are_refused(wrong: dict[str, object], key: str) -> None:
    with pytest.raises(InputError, match=key):
        Settings(**wrong).check()  # type: ignore[arg-type]


def test_one_call_makes_no_rule(known: Trajectories) -> None:
    with pytest.raises(InputError, match="at least 2"):
        calibrate(mixture(), known, 1, SETTINGS, Normal.of(known.images, 4), 0.002)
