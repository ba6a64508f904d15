"""Steps of a grid, and what may be asked in them: image, noise, score, drift and stages agree."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import CountedDenoiser
from sde_diffusion.denoisers.closed_form import GaussianDenoiser
from sde_diffusion.process.sde import EDM, SDE, VE, VP, CosineVP, Marginal, RectifiedFlow, SubVP
from sde_diffusion.solvers.step import Ask, Step, times_of, walk

F64 = torch.float64
SDES: dict[str, SDE] = {
    "vp": VP(),
    "subvp": SubVP(),
    "ve": VE(),
    "cosine": CosineVP(),
    "edm": EDM(),
    "flow": RectifiedFlow(),
}
VARIANCE = torch.tensor([1.0, 0.2], dtype=F64)
MEAN = torch.tensor([0.4, -0.3], dtype=F64)
X = torch.tensor([[0.5, -1.0], [2.0, 0.1], [-0.7, 0.3]], dtype=F64)
T = torch.tensor(0.4, dtype=F64)
TIMES = torch.tensor([0.8, 0.5, 0.2], dtype=F64)
METHODS = ("denoise", "residual", "noise", "score", "drift")

each_sde = pytest.mark.parametrize("name", SDES)


def gaussian(name: str) -> tuple[Ask, Marginal]:
    """The process, and its marginal at T."""
    ask = Ask(SDES[name], GaussianDenoiser(VARIANCE, MEAN))
    return ask, ask.at(float(T))


def log_density(sde: SDE, x: Tensor, t: Tensor) -> Tensor:
    """log p_t of the Gaussian in the SDE's own scale, without a denoiser."""
    variance = sde.alpha(t) ** 2 * VARIANCE + sde.sigma(t) ** 2
    return (-((x - sde.alpha(t) * MEAN) ** 2) / (2 * variance)).sum(-1)


@each_sde
def test_the_score_is_the_gradient_of_the_log_density(name: str) -> None:
    x = X.clone().requires_grad_()
    exact = torch.autograd.grad(log_density(SDES[name], x, T).sum(), x)[0]
    ask, at = gaussian(name)
    assert torch.allclose(ask.score(X, at), exact, rtol=1e-10)


@each_sde
def test_image_and_noise_make_the_state(name: str) -> None:
    (ask, at), sde = gaussian(name), SDES[name]
    again = sde.alpha(T) * ask.denoise(X, at) + sde.sigma(T) * ask.noise(X, at)
    assert torch.allclose(again, X, rtol=1e-12)


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
@each_sde
def test_the_drift_keeps_the_marginals(name: str, eta: float) -> None:
    """Run backwards with noise eta g, the moments obey the forward process's: for each mode of
    variance v, with drift a x + b, dv/dt = 2 a v - eta^2 g^2 and dm/dt = a m + b."""
    sde, (ask, at) = SDES[name], gaussian(name)
    zero = ask.drift(torch.zeros(1, 2, dtype=F64), at, eta)[0]
    a = ask.drift(torch.ones(1, 2, dtype=F64), at, eta)[0] - zero
    h = 1e-5
    v, mean = (lambda t: sde.alpha(t) ** 2 * VARIANCE + sde.sigma(t) ** 2), MEAN
    rate = (v(T + h) - v(T - h)) / (2 * h)
    assert torch.allclose(rate, 2 * a * v(T) - eta**2 * ask.g2(at), rtol=1e-6)
    rate = (sde.alpha(T + h) - sde.alpha(T - h)) / (2 * h) * mean
    assert torch.allclose(rate, a * sde.alpha(T) * mean + zero, rtol=1e-6, atol=1e-8)


@each_sde
def test_the_steps_of_a_grid_know_its_times_and_their_place(name: str) -> None:
    sde, steps = SDES[name], walk(SDES[name], TIMES)
    assert [(step.i, step.n, step.left, step.last) for step in steps] == [
        (0, 2, 2, False),
        (1, 2, 1, True),
    ]
    assert torch.equal(times_of(steps), TIMES)
    assert steps[0].b == steps[1].a
    for step, t, s in zip(steps, TIMES[:-1], TIMES[1:], strict=True):
        assert step.h == pytest.approx(float(sde.lam(s) - sde.lam(t)), rel=1e-13)
        assert step.h > 0
        for at, time in ((step.a, t), (step.b, s)):
            assert at.alpha == pytest.approx(float(sde.alpha(time)), rel=1e-14)
            assert at.sigma == pytest.approx(float(sde.sigma(time)), rel=1e-14)
            assert at.lam == pytest.approx(float(sde.lam(time)), abs=1e-14)
            assert at.noise_level == pytest.approx(float(sde.noise_level(time)), rel=1e-14)


@each_sde
def test_a_grid_known_beforehand_changes_nothing(name: str) -> None:
    """Of its times all is made at once, of those between when asked for: the same numbers."""
    ask, at = gaussian(name)
    walked = ask.along(TIMES)
    for place in (*(step.a for step in walked.steps), walked.steps[-1].b, at):
        assert walked.at(place.t) == place
        assert walked.g2(place) == pytest.approx(
            float(SDES[name].g2(torch.tensor(place.t).to(F64)))
        )
        for method in METHODS:
            found, expected = (getattr(one, method)(X, place) for one in (walked, ask))
            assert torch.allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("share", [0.3, 0.5])
@each_sde
def test_a_stage_stands_at_its_share_of_lam(name: str, share: float) -> None:
    """In a step of the grid, where all stages are made at once, and in any other."""
    ask = gaussian(name)[0].along(TIMES)
    lonely = Step(ask.at(0.7), ask.at(0.3), 0, 2)  # stands where the first step of the grid does
    for step in (*ask.steps, lonely):
        found = ask.between(step, share)
        assert found.lam == pytest.approx(step.a.lam + share * step.h, abs=1e-12)
        assert step.b.t < found.t < step.a.t
        assert found.alpha == pytest.approx(ask.at(found.t).alpha, rel=1e-12)
        assert found.sigma == pytest.approx(ask.at(found.t).sigma, rel=1e-12)


@each_sde
def test_a_noise_level_has_its_marginal(name: str) -> None:
    ask, at = gaussian(name)
    found = ask.at_level(at.noise_level)
    assert found.t == pytest.approx(at.t, rel=1e-9)
    assert found.noise_level == pytest.approx(at.noise_level, rel=1e-9)
    assert found.lam == pytest.approx(-math.log(at.noise_level), abs=1e-9)


def test_nothing_asked_for_is_changed_in_place() -> None:
    """Also where alpha is 1 and the denoiser sees the state itself."""
    for name in SDES:
        x, (ask, at) = X.clone(), gaussian(name)
        for method in METHODS:
            getattr(ask, method)(x, at)
        assert torch.equal(x, X)


def test_float32_states_stay_float32() -> None:
    ask, at = gaussian("vp")
    for method in METHODS:
        assert getattr(ask, method)(X.float(), at).dtype == torch.float32


class Echo(CountedDenoiser):
    """D = the label of each row."""

    def __init__(self) -> None:
        super().__init__((2,), 0.0, 100.0)

    def denoise(self, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
        assert cond is not None
        return cond.parts["label"].value[:, None].expand(x.shape).to(x)


def test_rows_take_their_conditions_along() -> None:
    ask = Ask(VP(), Echo(), Condition.label([7, 8, 9]))
    at = ask.at(float(T))
    assert ask.rows(slice(1, 3)).denoise(X[1:3], at)[:, 0].tolist() == [8, 9]
    some = torch.tensor([2, 0])
    assert ask.rows(some).denoise(X[some], at)[:, 0].tolist() == [9, 7]
