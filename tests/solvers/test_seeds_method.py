"""SEEDS: its intervals are those of the exact linear process, and one stage is a known step."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sde_diffusion.process.grids import Karras
from sde_diffusion.process.noise import Seeds
from sde_diffusion.process.sde import Marginal
from sde_diffusion.solvers.ancestral import Ancestral
from sde_diffusion.solvers.base import Solver
from sde_diffusion.solvers.seeds_method import SEEDS, StageInterval
from sde_diffusion.solvers.step import Ask, Step
from tests.refusals import refused
from tests.solvers.conftest import SDES, mixture

F64 = torch.float64


@torch.no_grad()
def end(solver: Solver, sde: str) -> Tensor:
    times = Karras().times(SDES[sde], 8)
    x = SDES[sde].prior(Seeds().start(range(3), (4,), F64), times[0])
    return solver.solve(Ask(SDES[sde], mixture()), x, times, Seeds().batch([7, 8, 9], (4,), F64))


@pytest.mark.parametrize("sde", SDES)
def test_one_stage_on_the_image_is_ancestral_sampling(sde: str) -> None:
    assert torch.allclose(end(SEEDS(order=1), sde), end(Ancestral(), sde), rtol=1e-9, atol=1e-11)


@torch.no_grad()
def test_one_stage_on_the_noise_is_twice_the_step_of_the_flow_and_a_brownian_motion_in_r2() -> None:
    sde = SDES["edm"]
    ask = Ask(sde, mixture())
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=F64)
    t, s = torch.tensor(0.9, dtype=F64), torch.tensor(0.4, dtype=F64)
    z = Seeds().batch([1, 2, 3], (4,), F64).normal(0.9, 0.4)
    step = Step(ask.at(0.9), ask.at(0.4), 0, 2)
    found, _ = SEEDS(1, "noise").step(ask, x, step, None, Seeds().batch([1, 2, 3], (4,), F64))
    expected = x + 2 * (s - t) * ask.noise(x, step.a) + (t**2 - s**2).sqrt() * z
    assert torch.allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("data", [True, False])
def test_an_interval_holds_the_integrals_that_it_stands_for(data: bool) -> None:
    """Against 20,000 midpoints in lam: kernel e^(-2 (lam_s - lam)) of the image, r of the noise."""
    found = StageInterval.between(Marginal(1.3, 1.0, 1.3), Marginal(0.5, 1.0, 0.5), data)
    h = math.log(1.3 / 0.5)
    u = (torch.arange(20000, dtype=F64) + 0.5) / 20000
    r = 1.3 * torch.exp(-h * u)
    decay = torch.exp(-2 * h * (1 - u)) if data else torch.ones_like(u)
    kernel = 2 * decay if data else -2 * r
    assert found.a == pytest.approx(math.exp(-2 * h) if data else 1.0, rel=1e-12)
    assert found.phi_1 == pytest.approx(float(kernel.mean() * h), rel=1e-7)
    assert found.phi_2 == pytest.approx(float((kernel * u).mean() * h), rel=1e-7)
    # Noise of rate 2 r^2 in lam, carried to s by the linear part.
    variance = (2 * r**2 * decay**2).mean() * h
    assert found.sd**2 == pytest.approx(float(variance), rel=1e-7)


@pytest.mark.parametrize("data", [True, False])
def test_two_intervals_make_one(data: bool) -> None:
    """w(s) = a w(m) + sd z has the variance of the whole: the stages share one path."""
    t, m, s = (Marginal(r, 1.0, r) for r in (7.0, 1.5, 0.2))
    first, second, whole = (StageInterval.between(*ends, data) for ends in ((t, m), (m, s), (t, s)))
    assert second.a * first.a == pytest.approx(whole.a, rel=1e-12)
    variance = second.a**2 * first.sd**2 + second.sd**2
    assert variance == pytest.approx(whole.sd**2, rel=1e-12)


@pytest.mark.parametrize("prediction", ["data", "noise"])
@torch.no_grad()
def test_two_and_three_stages_are_the_stated_recursion(prediction: str) -> None:
    """In y at alpha = 1, with the formulas of the docstring written out."""
    sde, data = SDES["edm"], prediction == "data"
    ask = Ask(sde, mixture())
    y = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=F64)
    t, s = torch.tensor(1.7, dtype=F64), torch.tensor(0.6, dtype=F64)
    step = Step(ask.at(1.7), ask.at(0.6), 0, 2)

    def predict(x: Tensor, level: Tensor) -> Tensor:
        return (ask.denoise if data else ask.noise)(x, ask.at(float(level)))

    def parts(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        d = torch.log(a / b)
        if data:
            one = 1 - torch.exp(-2 * d)
            return torch.exp(-2 * d), one, 1 - one / (2 * d), b * one.sqrt()
        one = torch.exp(d) - 1
        return d * 0 + 1, -2 * b * one, -2 * b * (one / d - 1), b * (torch.exp(2 * d) - 1).sqrt()

    draws = Seeds().batch([1, 2, 3], (4,), F64)
    m = (t * s).sqrt()
    a, one, _, sd = parts(t, m)
    w = sd * draws.normal(1.7, 0.6)
    u = a * y + one * predict(y, t) + w
    a_2, _, _, sd_2 = parts(m, s)
    a, one, _, _ = parts(t, s)
    expected = a * y + one * predict(u, m) + a_2 * w + sd_2 * draws.normal(1.7, 0.6)
    found, _ = SEEDS(2, prediction).step(ask, y, step, None, Seeds().batch([1, 2, 3], (4,), F64))
    assert torch.allclose(found, expected, rtol=1e-11)

    draws = Seeds().batch([1, 2, 3], (4,), F64)
    m, k = t ** (2 / 3) * s ** (1 / 3), t ** (1 / 3) * s ** (2 / 3)
    f_t = predict(y, t)
    a, one, _, sd = parts(t, m)
    w = sd * draws.normal(1.7, 0.6)
    f_u = predict(a * y + one * f_t + w, m)
    a_2, _, _, sd_2 = parts(m, k)
    w = a_2 * w + sd_2 * draws.normal(1.7, 0.6)
    a, one, two, _ = parts(t, k)
    f_v = predict(a * y + one * f_t + 2 * two * (f_u - f_t) + w, k)
    a_2, _, _, sd_2 = parts(k, s)
    w = a_2 * w + sd_2 * draws.normal(1.7, 0.6)
    a, one, two, _ = parts(t, s)
    expected = a * y + one * f_t + 1.5 * two * (f_v - f_t) + w
    found, _ = SEEDS(3, prediction).step(ask, y, step, None, Seeds().batch([1, 2, 3], (4,), F64))
    assert torch.allclose(found, expected, rtol=1e-11)


def test_a_wrong_field_is_refused_by_its_name() -> None:
    with refused("solver.order=4", "choose"):
        SEEDS(order=4)
    with refused("solver.prediction=v", "choose"):
        SEEDS(prediction="v")
