"""The reverse process: its denoiser, noise, score and drift hang together on every SDE."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import CountedDenoiser
from sde_diffusion.denoisers.closed_form import GaussianDenoiser
from sde_diffusion.process.sde import EDM, SDE, VE, VP, CosineVP, RectifiedFlow, SubVP
from sde_diffusion.solvers.reverse import Reverse

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


def reverse(name: str) -> Reverse:
    return Reverse(SDES[name], GaussianDenoiser(VARIANCE, MEAN))


def log_density(sde: SDE, x: Tensor, t: Tensor) -> Tensor:
    """log p_t of the Gaussian in the SDE's own scale, without a denoiser."""
    variance = sde.alpha(t) ** 2 * VARIANCE + sde.sigma(t) ** 2
    return (-((x - sde.alpha(t) * MEAN) ** 2) / (2 * variance)).sum(-1)


@pytest.mark.parametrize("name", SDES)
def test_the_score_is_the_gradient_of_the_log_density(name: str) -> None:
    x = X.clone().requires_grad_()
    exact = torch.autograd.grad(log_density(SDES[name], x, T).sum(), x)[0]
    assert torch.allclose(reverse(name).score(X, T), exact, rtol=1e-10)


@pytest.mark.parametrize("name", SDES)
def test_image_and_noise_make_the_state(name: str) -> None:
    process, sde = reverse(name), SDES[name]
    again = sde.alpha(T) * process.denoise(X, T) + sde.sigma(T) * process.noise(X, T)
    assert torch.allclose(again, X, rtol=1e-12)


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("name", SDES)
def test_the_drift_keeps_the_marginals(name: str, eta: float) -> None:
    """Run backwards with noise eta g, the moments obey the forward process's: for each mode of
    variance v, with drift a x + b, dv/dt = 2 a v - eta^2 g^2 and dm/dt = a m + b."""
    sde, process = SDES[name], reverse(name)
    zero = process.drift(torch.zeros(1, 2, dtype=F64), T, eta)[0]
    a = process.drift(torch.ones(1, 2, dtype=F64), T, eta)[0] - zero
    h = 1e-5
    v, mean = (lambda t: sde.alpha(t) ** 2 * VARIANCE + sde.sigma(t) ** 2), MEAN
    rate = (v(T + h) - v(T - h)) / (2 * h)
    assert torch.allclose(rate, 2 * a * v(T) - eta**2 * sde.g2(T), rtol=1e-6)
    rate = (sde.alpha(T + h) - sde.alpha(T - h)) / (2 * h) * mean
    assert torch.allclose(rate, a * sde.alpha(T) * mean + zero, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", SDES)
def test_a_grid_known_beforehand_changes_nothing(name: str) -> None:
    """Times of the grid are looked up, those between are computed: the same numbers."""
    process, times = reverse(name), torch.tensor([0.8, 0.5, 0.2], dtype=F64)
    walked = process.on(times)
    for t in (*times, T):
        assert walked.at(t).alpha == pytest.approx(float(SDES[name].alpha(t)), rel=1e-14)
        assert walked.at(t).sigma == pytest.approx(float(SDES[name].sigma(t)), rel=1e-14)
        assert walked.at(t).lam == pytest.approx(float(SDES[name].lam(t)), abs=1e-14)
        level = float(SDES[name].noise_level(t))
        assert walked.at(t).noise_level == pytest.approx(level, rel=1e-14)
        assert walked.g2(t) == pytest.approx(float(SDES[name].g2(t)), rel=1e-14)
        for method in ("denoise", "noise", "score", "drift"):
            found, expected = getattr(walked, method)(X, t), getattr(process, method)(X, t)
            assert torch.allclose(found, expected, rtol=1e-12)


def test_nothing_asked_for_is_changed_in_place() -> None:
    """Also where alpha is 1 and the denoiser sees the state itself."""
    for name in SDES:
        x = X.clone()
        for method in ("denoise", "noise", "score", "drift"):
            getattr(reverse(name), method)(x, T)
        assert torch.equal(x, X)


def test_float32_states_stay_float32() -> None:
    process = reverse("vp")
    for method in (process.denoise, process.noise, process.score, process.drift):
        assert method(X.float(), T).dtype == torch.float32


class Echo(CountedDenoiser):
    """D = the label of each row."""

    def __init__(self) -> None:
        super().__init__((2,), 0.0, 100.0)

    def denoise(self, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
        assert cond is not None
        return cond.parts["label"].value[:, None].expand(x.shape).to(x)


def test_rows_take_their_conditions_along() -> None:
    process = Reverse(VP(), Echo(), Condition.label([7, 8, 9]))
    assert process.rows(slice(1, 3)).denoise(X[1:3], T)[:, 0].tolist() == [8, 9]
    some = torch.tensor([2, 0])
    assert process.rows(some).denoise(X[some], T)[:, 0].tolist() == [9, 7]
