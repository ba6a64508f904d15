"""Weightings: the published losses on the network's output, and the integral of the ELBO."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sde_diffusion.denoisers.parameterization import (
    PARAMETERIZATIONS,
    KarrasPreconditioning,
    Parameterization,
)
from sde_diffusion.errors import InputError
from sde_diffusion.process.sde import EDM as EDMProcess
from sde_diffusion.process.sde import SDE, VE, VP, CosineVP, RectifiedFlow, SubVP
from sde_diffusion.training.levels import FromSDE, Importance, LogNormal, LogUniform, NoiseLevels
from sde_diffusion.training.weighting import (
    EDMWeighting,
    LikelihoodWeighting,
    MinSNRWeighting,
    PublishedWeighting,
    UncertaintyWeighting,
)
from tests.refusals import refused

SIGMA = torch.logspace(-2.5, 1.8, 40, dtype=torch.float64)
ONE = torch.ones_like(SIGMA)
SDES = [VP(), SubVP(), VE(), CosineVP(), EDMProcess(), RectifiedFlow()]
NAMES = sorted(PARAMETERIZATIONS)


def make(name: str) -> Parameterization:
    return KarrasPreconditioning(0.7) if name == "karras" else PARAMETERIZATIONS[name]()


@pytest.mark.parametrize("name", NAMES)
def test_published_is_the_weight_of_the_parameterization(name: str) -> None:
    p = make(name)
    assert torch.equal(PublishedWeighting()(p, SIGMA, 3 * ONE), p.weight(SIGMA) * (3 * ONE))


@pytest.mark.parametrize("name", NAMES)
def test_min_snr_on_the_networks_output(name: str) -> None:
    """|D - x_0|^2 = c_out^2 |F - target|^2; the weights on F are those of the paper's table."""
    p, snr = make(name), SIGMA**-2
    on_output = MinSNRWeighting(5.0)(p, SIGMA, ONE) * p.c_out(SIGMA) ** 2
    capped = torch.minimum(snr, torch.tensor(5.0, dtype=torch.float64))
    published = {"epsilon": capped / snr, "v": capped / (snr + 1), "x0": capped}
    if name in published:
        assert torch.allclose(on_output, published[name], rtol=1e-12)
    assert torch.equal(
        MinSNRWeighting(5.0)(p, SIGMA, ONE), MinSNRWeighting(5.0)(make("x0"), SIGMA, ONE)
    )


def test_edm_is_the_published_weight_of_karras() -> None:
    assert torch.allclose(
        EDMWeighting(0.7)(make("epsilon"), SIGMA, ONE),
        KarrasPreconditioning(0.7).weight(SIGMA),
        rtol=1e-12,
    )


@pytest.mark.parametrize("sde", SDES, ids=lambda x: type(x).__name__)
def test_likelihood_is_half_g_squared_on_the_score(sde: SDE) -> None:
    """For t ~ U(t_min, t_max): (t_max - t_min) 1/2 g^2 |s - grad log p(x_t | x_0)|^2.

    The scores of x_t differ by alpha (D - x_0) / sigma_t^2 (Song et al. 2021, theorem 1).
    """
    levels = FromSDE(sde)
    sigma = levels.sigma(torch.linspace(0.01, 0.99, 25, dtype=torch.float64))
    t = sde.time_at(sigma)
    on_d = (levels.t_max - levels.t_min) * 0.5 * sde.g2(t) * sde.alpha(t) ** 2 / sde.sigma(t) ** 4
    ours = LikelihoodWeighting(levels)(make("v"), sigma, torch.ones_like(sigma))
    assert torch.allclose(ours, on_d, rtol=1e-9)


VARIANCE = 0.3
LOW, HIGH = 0.03, 80.0


def losses(levels: NoiseLevels, n: int = 200_000) -> Tensor:
    """Likelihood-weighted losses [n] of the exact denoiser of N(0, VARIANCE), at random levels."""
    g = torch.Generator().manual_seed(4)
    sigma = levels.sigma(torch.rand(n, generator=g, dtype=torch.float64))
    x_0, noise = torch.randn(2, n, generator=g, dtype=torch.float64)
    x_0 = VARIANCE**0.5 * x_0
    error = VARIANCE / (VARIANCE + sigma**2) * (x_0 + sigma * noise) - x_0
    return LikelihoodWeighting(levels)(make("v"), sigma, error**2)


def entropy(sigma: float) -> float:
    return 0.5 * math.log(2 * math.pi * math.e * (VARIANCE + sigma**2))


@pytest.mark.parametrize(
    "levels",
    [
        LogUniform(LOW, HIGH),
        Importance(VP(), 0.1, LOW, HIGH),
        Importance(RectifiedFlow(), 0.1, LOW, HIGH),
        FromSDE(VP(), float(VP().time_at(torch.tensor(LOW))), HIGH),
    ],
    ids=["loguniform", "importance vp", "importance flow", "uniform time"],
)
def test_the_mean_loss_is_the_entropy_lost_whatever_the_levels(levels: NoiseLevels) -> None:
    """For the exact denoiser dh / d log sigma = 1 - E|D - x_0|^2 / sigma^2 (de Bruijn), so

        E loss = log(sigma_max / sigma_min) - (h(x at sigma_max) - h(x at sigma_min)).

    Within four standard errors of 200,000 draws.
    """
    values = losses(levels)
    wanted = math.log(HIGH / LOW) - (entropy(HIGH) - entropy(LOW))
    standard_error = float(values.std()) / len(values) ** 0.5
    assert standard_error < 0.05 * wanted
    assert float(values.mean()) == pytest.approx(wanted, abs=4 * standard_error)


def test_importance_has_less_variance_than_uniform_time() -> None:
    uniform = losses(FromSDE(VP(), float(VP().time_at(torch.tensor(LOW))), HIGH))
    importance = losses(Importance(VP(), LOW, LOW, HIGH))
    assert float(importance.var()) < 0.25 * float(uniform.var())


def test_likelihood_refuses_levels_without_ends() -> None:
    with refused("weighting=likelihood", "LogNormal", "loguniform"):
        LikelihoodWeighting(LogNormal())


def test_likelihood_refuses_levels_beyond_the_denoiser() -> None:
    """Rectified flow at t = 0.001 is at noise level 0.001; an end may round."""
    LikelihoodWeighting(LogUniform(0.002, 80.0)).check(0.002 * (1 + 1e-7), 80.0 * (1 - 1e-7))
    LikelihoodWeighting(FromSDE(RectifiedFlow(), 0.002)).check(0.002, 80.0)
    for levels in (FromSDE(RectifiedFlow()), LogUniform(0.002, 81.0)):
        with pytest.raises(InputError, match=r"outside sigma_min=0\.002 \.\. sigma_max=80"):
            LikelihoodWeighting(levels).check(0.002, 80.0)


def test_uncertainty_starts_as_the_published_loss() -> None:
    p, error = make("karras"), torch.rand(40, generator=torch.Generator().manual_seed(0))
    ours = UncertaintyWeighting()(p, SIGMA.float(), error)
    assert torch.equal(ours, PublishedWeighting()(p, SIGMA.float(), error))


def test_uncertainty_learns_the_mean_error_of_each_level() -> None:
    """Minimised over u, exp(u) is the mean weighted error, here a smooth function of sigma.

    To 0.02 with 64 features after LBFGS; the mean error itself spans a factor of 20.
    """
    p, weighting = make("karras"), UncertaintyWeighting(64).double()
    mean = 0.05 + 1 / (1 + SIGMA**2)
    optimizer = torch.optim.LBFGS(
        weighting.parameters(), max_iter=200, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = weighting(p, SIGMA, mean / p.weight(SIGMA)).mean()
        value.backward()
        return value

    optimizer.step(loss)
    u = weighting.log_error(p, SIGMA).detach()
    assert float((u - mean.log()).abs().max()) < 0.02


def test_uncertainty_pulls_on_the_network_with_equal_force() -> None:
    """At exp(u) = E[weighted error] the gradient on log error is 1 at every level."""
    p, weighting = make("epsilon"), UncertaintyWeighting(16)
    log_error = torch.zeros(40, requires_grad=True)
    with torch.no_grad():
        weighting.weight.normal_(generator=torch.Generator().manual_seed(2))
        at_optimum = weighting.log_error(p, SIGMA.float()).exp() / p.weight(SIGMA.float())
    weighting(p, SIGMA.float(), at_optimum * log_error.exp()).sum().backward()
    assert log_error.grad is not None
    assert torch.allclose(log_error.grad, torch.ones(40), rtol=1e-5)


@pytest.mark.parametrize(
    ("make_one", "key"),
    [
        (lambda: MinSNRWeighting(0.0), "weighting.gamma=0"),
        (lambda: EDMWeighting(-1.0), "weighting.sigma_data=-1"),
        (lambda: UncertaintyWeighting(0), "weighting.features=0"),
    ],
)
def test_a_wrong_argument_is_named(make_one: type, key: str) -> None:
    with pytest.raises(InputError, match=key):
        make_one()


def test_autocast_leaves_the_uncertainty_its_digits() -> None:
    p, weighting, sigma = make("karras"), UncertaintyWeighting(16), SIGMA.float()
    with torch.no_grad():
        weighting.weight.normal_(generator=torch.Generator().manual_seed(2))
    with torch.autocast("cpu", torch.bfloat16):
        cast = weighting.log_error(p, sigma)
    assert torch.equal(cast, weighting.log_error(p, sigma))
