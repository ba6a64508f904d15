"""Closed-form denoisers against brute-force posterior means and Tweedie's formula."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.closed_form import EmpiricalDenoiser, GaussianDenoiser, MixtureDenoiser
from sde_diffusion.guidance import ClassifierFree, Guided
from tests.far import FAR, FarDevice
from tests.refusals import refused

F64 = torch.float64
LEVELS = [torch.tensor(s, dtype=F64) for s in (0.05, 0.7, 10.0)]


def draws(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def rotation(d: int, seed: int) -> Tensor:
    return torch.linalg.qr(draws(d, d, seed=seed))[0]


def mixture(bases: bool) -> MixtureDenoiser:
    return MixtureDenoiser(
        torch.tensor([0.2, 0.5, 0.3], dtype=F64),
        draws(3, 2, seed=1),
        draws(3, 2, seed=2).square() + 0.01,
        torch.stack([rotation(2, seed) for seed in (3, 4, 5)]) if bases else None,
    )


@pytest.mark.parametrize("sigma", LEVELS)
@pytest.mark.parametrize("bases", [False, True])
def test_a_mixture_is_tweedie_of_its_log_density(bases: bool, sigma: Tensor) -> None:
    """D = x + sigma^2 grad log p."""
    denoiser, x = mixture(bases), draws(6, 2).requires_grad_()
    score = torch.autograd.grad(denoiser.log_prob(x, sigma).sum(), x)[0]
    assert torch.allclose(denoiser(x, sigma), x + sigma**2 * score, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("bases", [False, True])
def test_a_mixture_is_the_posterior_mean_by_quadrature(bases: bool) -> None:
    """x_0 integrated over a fine square, its density from the covariance matrices themselves."""
    denoiser, sigma = mixture(bases), torch.tensor(0.6, dtype=F64)
    axis = torch.linspace(-8, 8, 801, dtype=F64)
    points = torch.cartesian_prod(axis, axis)
    density = torch.zeros(len(points), dtype=F64)
    for k in range(3):
        u = torch.eye(2, dtype=F64) if denoiser.bases is None else denoiser.bases[k]
        cov = u @ torch.diag(denoiser.variances[k]) @ u.T
        normal = torch.distributions.MultivariateNormal(denoiser.means[k], cov)
        density += denoiser.weights[k] * normal.log_prob(points).exp()
    for x in draws(3, 2, seed=7):
        weight = density * torch.exp(-(x - points).square().sum(1) / (2 * sigma**2))
        mean = (weight[:, None] * points).sum(0) / weight.sum()
        assert torch.allclose(denoiser(x[None], sigma)[0], mean, rtol=0, atol=1e-4)
        total = weight.sum() * (axis[1] - axis[0]) ** 2 / (2 * torch.pi * sigma**2)
        assert float(denoiser.log_prob(x[None], sigma)) == pytest.approx(
            float(total.log()), abs=1e-4
        )


@pytest.mark.parametrize("bases", [False, True])
def test_a_mixture_draws_from_its_own_law(bases: bool) -> None:
    """Mean and covariance of 40,000 draws within 5 standard errors of the exact ones."""
    denoiser, n = mixture(bases), 40000
    x = denoiser.sample(n, torch.Generator().manual_seed(0))
    mean = denoiser.weights @ denoiser.means
    cov = torch.zeros(2, 2, dtype=F64)
    for k in range(3):
        u = torch.eye(2, dtype=F64) if denoiser.bases is None else denoiser.bases[k]
        off = denoiser.means[k] - mean
        inner = u @ torch.diag(denoiser.variances[k]) @ u.T + torch.outer(off, off)
        cov += denoiser.weights[k] * inner
    z = x - mean
    assert float((z.mean(0) / z.std(0)).abs().max()) < 5 / n**0.5
    products = z[:, :, None] * z[:, None]
    assert float(((products.mean(0) - cov) / products.std(0)).abs().max()) < 5 / n**0.5


def test_a_gaussian_is_a_mixture_of_one() -> None:
    variance, mean, basis = draws(3, seed=1).square(), draws(3, seed=2), rotation(3, 3)
    one = GaussianDenoiser(variance, mean, basis)
    weights = torch.ones(1, dtype=F64)
    other = MixtureDenoiser(weights, mean[None], variance[None], basis[None])
    for sigma in (*LEVELS, torch.tensor([0.1, 1.0, 4.0], dtype=F64)):
        assert torch.allclose(one(draws(3, 3), sigma), other(draws(3, 3), sigma), rtol=1e-12)


def test_the_flow_of_a_gaussian_solves_its_ode() -> None:
    """dx/dsigma = (x - D) / sigma: central differences of step 1e-4 (error 1e-7)."""
    denoiser = GaussianDenoiser(draws(3, seed=1).square(), draws(3, seed=2), rotation(3, 3))
    x, sigma, h = draws(2, 3), torch.tensor(1.3, dtype=F64), 1e-4
    slope = (denoiser.flow(x, sigma, sigma + h) - denoiser.flow(x, sigma, sigma - h)) / (2 * h)
    assert torch.allclose(slope, (x - denoiser(x, sigma)) / sigma, rtol=0, atol=1e-6)
    there = denoiser.flow(x, sigma, 5 * sigma)
    assert torch.allclose(denoiser.flow(there, 5 * sigma, sigma), x, rtol=1e-12)


def test_modes_and_back() -> None:
    denoiser = GaussianDenoiser(draws(3).square(), draws(3, seed=2), rotation(3, 3))
    x = draws(4, 3, seed=5)
    assert torch.allclose(denoiser.from_modes(denoiser.to_modes(x)), x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("bandwidth", [0.0, 0.3])
def test_an_empirical_denoiser_is_the_mean_over_its_points(bandwidth: float) -> None:
    """A mixture of equal balls of radius ``bandwidth``, written as a sum over the points."""
    points = draws(6, 1, 2, 2, seed=3)
    denoiser = EmpiricalDenoiser(points, bandwidth)
    x = draws(3, 1, 2, 2, seed=4)
    for sigma in (LEVELS[1], torch.tensor([0.2, 0.5, 3.0], dtype=F64)):
        found = denoiser(x, sigma)
        for k in range(3):
            s2 = float(sigma.expand(3)[k]) ** 2
            total = bandwidth**2 + s2
            weight = torch.exp(-(x[k] - points).square().flatten(1).sum(1) / (2 * total))
            means = (bandwidth**2 * x[k] + s2 * points) / total
            mean = (weight[:, None, None, None] * means).sum(0) / weight.sum()
            assert torch.allclose(found[k], mean, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "denoiser",
    [GaussianDenoiser(torch.ones(2, dtype=F64)), mixture(True), EmpiricalDenoiser(draws(5, 2))],
    ids=lambda d: type(d).__name__,
)
def test_rows_count_and_levels_go_by_row(denoiser: GaussianDenoiser) -> None:
    x, levels = draws(3, 2), torch.tensor([0.1, 1.0, 4.0], dtype=F64)
    together = denoiser(x, levels)
    assert denoiser.evaluations == 3
    for k in range(3):
        alone = denoiser(x[k : k + 1], levels[k])
        assert torch.allclose(together[k], alone[0], rtol=1e-12)
    assert denoiser.evaluations == 6
    assert denoiser(x.float(), levels).dtype == torch.float32


def test_a_class_without_a_component_is_refused_before_it_is_asked_for() -> None:
    """Once, on both sides of guidance; asked all the same, the answer is not a number."""
    plain = mixture(False)
    named = MixtureDenoiser(
        plain.weights, plain.means, plain.variances, labels=torch.tensor([0, 4, 4])
    )
    for denoiser in (named, Guided(named, ClassifierFree(2.0))):
        denoiser.check_condition(None)
        denoiser.check_condition(Condition.label([0, 4, -1]))
        with refused("label=3", "take one of [0, 4]"):
            denoiser.check_condition(Condition.label([0, 3]))
    other = Condition(Condition.label([0]).parts, other=Condition.label([7]))
    with refused("label=7"):
        Guided(named, ClassifierFree(2.0)).check_condition(other)
    answer = named(draws(2, 2), LEVELS[1], Condition.label([0, 3]))
    assert answer.isnan().all(1).tolist() == [False, True]


@pytest.mark.parametrize("level", [0.001, 90.0])
def test_levels_beyond_the_range_are_refused_where_they_can_be_seen(level: float) -> None:
    """One number, or a number a row, on the host; those on a device are not read."""
    denoiser = mixture(False)
    denoiser.sigma_min, denoiser.sigma_max = 0.002, 80.0
    x, row = draws(2, 2), torch.tensor([1.0, level], dtype=F64)
    for sigma in (row, row[1]):
        with refused("grid: noise level", "outside the model's training range"):
            denoiser(x, sigma)
    with FarDevice() as log:
        denoiser.to(FAR)(x.to(FAR), row.to(FAR))
    assert log.reads == []
