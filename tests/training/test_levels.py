"""Noise levels: quantile functions, and the times of an SDE."""

from __future__ import annotations

import math

import pytest
import torch

from sde_diffusion.errors import InputError
from sde_diffusion.process.sde import EDM, SDE, VE, VP, CosineVP, RectifiedFlow, SubVP
from sde_diffusion.training.levels import FromSDE, Importance, LogNormal, LogUniform, NoiseLevels

U = torch.linspace(0.0005, 0.9995, 1000, dtype=torch.float64)
SDES = [VP(), SubVP(), VE(), VE(0.02, 50.0), CosineVP(), EDM(), RectifiedFlow()]
ALL = [
    LogNormal(-0.4, 1.4), LogUniform(), *(FromSDE(sde) for sde in SDES),
    *(Importance(sde, 0.05) for sde in SDES),
]  # fmt: skip


@pytest.mark.parametrize("levels", ALL, ids=lambda x: type(x).__name__)
def test_quantiles_increase_and_keep_the_dtype(levels: NoiseLevels) -> None:
    assert bool((levels.sigma(U).diff() > 0).all())
    assert levels.sigma(U.float()).dtype == torch.float32
    assert len(set(levels.quantiles())) == 3


def test_lognormal_has_its_moments() -> None:
    log = LogNormal(-0.4, 1.4).sigma(U).log()
    assert float(log.mean()) == pytest.approx(-0.4, abs=1e-9)
    assert float(log.std()) == pytest.approx(1.4, rel=5e-3)  # 1000 strata cut the tails


@pytest.mark.parametrize("levels", ALL, ids=lambda x: type(x).__name__)
def test_the_density_is_the_slope_of_the_quantile_function(levels: NoiseLevels) -> None:
    """q(log sigma) = du / d log sigma, by central differences of width 2e-6."""
    h = 1e-6
    slope = (levels.sigma(U + h).log() - levels.sigma(U - h).log()) / (2 * h)
    assert torch.allclose(levels.density(levels.sigma(U)), 1 / slope, rtol=1e-5)
    assert levels.density(levels.sigma(U.float())).dtype == torch.float32


@pytest.mark.parametrize("sde", SDES, ids=lambda x: type(x).__name__)
def test_importance_is_in_proportion_to_the_weight_and_flat_in_time_below(sde: SDE) -> None:
    """p(t) = q(log sigma) d log sigma / dt against the published g^2 / sigma_t^2."""
    levels = Importance(sde, sigma_flat=0.05)
    flat = sde.time_at(torch.tensor(0.05, dtype=torch.float64))
    sigma = levels.sigma(U)
    t = sde.time_at(sigma)
    p = levels.density(sigma) * sde.g2(t) / (2 * sde.sigma(t) ** 2)
    assert int((t < flat).sum()) > 20
    wanted = sde.g2(t.clamp(min=flat)) / sde.sigma(t.clamp(min=flat)) ** 2
    assert torch.allclose(p / p[-1], wanted / wanted[-1], rtol=1e-9)


def test_importance_keeps_its_ends_and_is_log_uniform_without_a_flat_part() -> None:
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    for sde in SDES:
        low, high = Importance(sde).sigma(ends).tolist()
        assert low == pytest.approx(0.002, rel=1e-9)
        assert high == pytest.approx(min(80.0, float(sde.noise_level(torch.tensor(sde.t_max)))))
        plain = Importance(sde, sigma_flat=1e-4, sigma_max=20.0)
        assert torch.allclose(plain.sigma(U), LogUniform(0.002, 20.0).sigma(U), rtol=1e-9)


def test_loguniform_is_the_ve_sde_in_its_own_time() -> None:
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    assert LogUniform().sigma(ends).tolist() == pytest.approx([0.002, 80.0], rel=1e-12)
    assert torch.allclose(LogUniform(0.002, 80.0).sigma(U), VE(0.002, 80.0).noise_level(U))


@pytest.mark.parametrize("sde", SDES, ids=lambda x: type(x).__name__)
def test_sde_times_are_uniform_up_to_the_cap(sde: SDE) -> None:
    levels = FromSDE(sde, t_min=1e-3, sigma_max=80.0)
    t = sde.time_at(levels.sigma(U))
    end = min(sde.t_max, float(sde.time(torch.tensor(-math.log(80.0), dtype=torch.float64))))
    assert torch.allclose(t, 1e-3 + (end - 1e-3) * U, rtol=1e-6, atol=1e-9)
    assert float(levels.sigma(torch.tensor(1.0, dtype=torch.float64))) <= 80.0 * (1 + 1e-9)


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: LogNormal(std=0.0), "levels.std=0"),
        (lambda: LogUniform(2.0, 1.0), "levels.sigma_min=2"),
        (lambda: FromSDE(VP(), t_min=2.0), "levels.t_min=2"),
        (lambda: FromSDE(VP(), t_min=0.0), "levels.t_min=0"),
        (lambda: FromSDE(VP(), sigma_max=-1.0), "levels.sigma_max=-1"),
        (lambda: Importance(VP(), sigma_min=100.0), "levels.sigma_min=100"),
        (lambda: Importance(VE(0.002, 50.0), sigma_flat=60.0), "levels.sigma_flat=60"),
    ],
)
def test_a_wrong_argument_is_named(make: type, key: str) -> None:
    with pytest.raises(InputError, match=key):
        make()
