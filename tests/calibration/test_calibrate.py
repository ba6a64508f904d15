"""Calibration: parts against closed forms and finite differences, the whole by what it wins."""

from __future__ import annotations

import pytest
import torch

from sde_diffusion.calibration import Settings, Trajectories, calibrate
from sde_diffusion.calibration.greedy import candidates, greedy, snapped
from sde_diffusion.calibration.problem import Problem
from sde_diffusion.calibration.refine import DIFFERENCE, Fit, Parameters
from sde_diffusion.calibration.standard import ALL, standard_ends
from sde_diffusion.calibration.trajectory import trajectories
from sde_diffusion.calibration.twin import mixture_twin
from sde_diffusion.closed_form import GaussianDenoiser
from sde_diffusion.data import digits
from sde_diffusion.errors import InputError
from sde_diffusion.solvers.rule import Rule, Start
from tests.calibration.conftest import mixture

SETTINGS = Settings(noises=160, held_out=80, budget=30, batch_size=160)


def problem(known: Trajectories, rows: slice = slice(0, 160)) -> Problem:
    start = Start.of(known.images, 4)
    return Problem.of(mixture(), start, known[rows], 64, lambda evaluations: None)


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
    assert p.walk(rule).residuals[0].shape == (9, 4)


def test_the_jacobian_is_that_of_central_differences(known: Trajectories) -> None:
    p = problem(known, slice(0, 16))
    rule, _ = greedy(p, known[slice(0, 16)], [10, 30, 45, 64])
    double = Problem(p.denoiser, p.start, p.sigma_max, p.noise.double(), p.target.double(),
                     None, 64, lambda evaluations: None)  # fmt: skip
    fit = Fit(double, rule, double.walk(rule), 0.002)
    before = p.denoiser.evaluations
    fit.differentiate()
    assert p.denoiser.evaluations - before == 16 * fit.cost
    parameters = Parameters(rule, 0.002, 80.0)
    theta = parameters.zero()
    assert len(fit.jacobian) == len(theta) == 1 + 3 + 6
    for p_, row in enumerate(fit.jacobian):
        ends = []
        for sign in (1, -1):
            moved = theta.clone()
            moved[p_] += sign * 1e-4
            ends.append(double.walk(parameters.rule(moved)).end.flatten())
        central = (ends[0] - ends[1]) / 2e-4
        assert float((row - central).norm()) <= 50 * DIFFERENCE * float(central.norm()) + 1e-6


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


def test_starting_grids_lie_on_the_reference(known: Trajectories) -> None:
    for nodes in candidates(known.levels, 0.8, 5):
        assert len(nodes) == 6
        assert list(nodes) == sorted(set(nodes))
        assert nodes[-1] == 64
    assert snapped(known.levels, known.levels[[3, 3, 64]]) == [3, 4, 64]


@pytest.mark.parametrize("calls", [3, 5])
def test_a_rule_beats_every_standard_solver_on_noises_it_never_saw(
    known: Trajectories, calls: int
) -> None:
    """By half, on the mixture; and the joint fit is what wins."""
    start = Start.of(known.images, 4)
    made = calibrate(mixture(), known[slice(0, 240)], calls, SETTINGS, start, 0.002)
    fresh = problem(known, slice(240, 320))
    ends = standard_ends(mixture(), range(240, 320), None, calls, 0.002, 80.0, ALL)
    best = min(fresh.rmse(x) for x in ends.values())
    error = fresh.rmse(fresh.walk(made.rule).end)
    assert error < 0.5 * best
    assert made.error < made.start_error
    levels = made.rule.levels.tolist()
    assert levels == sorted(levels, reverse=True)
    assert levels[-1] == pytest.approx(0.002)


def test_a_calibration_is_a_function_of_its_settings(known: Trajectories) -> None:
    start = Start.of(known.images, 4)
    short = Settings(noises=32, held_out=16, budget=10)
    a, b = (calibrate(mixture(), known[slice(0, 48)], 3, short, start, 0.002) for _ in range(2))
    assert torch.equal(a.rule.weights, b.rule.weights)
    assert torch.equal(a.rule.asked, b.rule.asked)


def test_bands_are_kept_only_if_held_out_noises_gain(known: Trajectories) -> None:
    start = Start.of(known.images, 4)
    scalar = calibrate(mixture(), known[slice(0, 240)], 3, SETTINGS, start, 0.002)
    banded = Settings(noises=160, held_out=80, budget=30, mode="per_mode", batch_size=160)
    per_mode = calibrate(mixture(), known[slice(0, 240)], 3, banded, start, 0.002)
    assert per_mode.error <= scalar.error * (1 + 1e-6)
    if per_mode.rule.last is not None:
        assert per_mode.rule.last.shape == (2, 3)


def test_a_twin_is_the_denoiser_of_its_data() -> None:
    """One component: the Gaussian of the data; more come nearer to the data at low noise."""
    data = digits()
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


@pytest.mark.parametrize(
    ("wrong", "key"),
    [({"noises": 2}, "noises=2"), ({"budget": -1}, "budget=-1"), ({"mode": "x"}, "mode=x"),
     ({"batch_size": 0}, "batch_size=0")],
)  # fmt: skip
def test_settings_that_make_no_calibration_are_refused(wrong: dict[str, object], key: str) -> None:
    with pytest.raises(InputError, match=key):
        Settings(**wrong).check()  # type: ignore[arg-type]


def test_one_call_makes_no_rule(known: Trajectories) -> None:
    with pytest.raises(InputError, match="at least 2"):
        calibrate(mixture(), known, 1, SETTINGS, Start.of(known.images, 4), 0.002)
