"""Averages of weights against the weighted sums they stand for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sde_diffusion.errors import InputError
from sde_diffusion.training.ema import EMA, Averaged, FixedEMA, PowerEMA, WarmupEMA

RULES = [PowerEMA(0.05), PowerEMA(0.1), PowerEMA(0.2), FixedEMA(0.97), WarmupEMA(0.97)]


def power_weights(steps: int, gamma: float) -> torch.Tensor:
    """w_i = (i^(gamma+1) - (i-1)^(gamma+1)) / t^(gamma+1), the profile i^gamma summed."""
    edges = (torch.arange(steps + 1, dtype=torch.float64) / steps) ** (gamma + 1)
    return edges.diff()


def weights(ema: EMA, steps: int) -> torch.Tensor:
    """w_0 of the initial weights, w_i of those after step i, from the shares alone."""
    kept = torch.tensor([1.0, *(ema.share(i) for i in range(1, steps + 1))], dtype=torch.float64)
    later = torch.cat([(1 - kept[1:]).flip(0).cumprod(0).flip(0), torch.ones(1)])
    return kept * later


@pytest.mark.parametrize("ema", RULES, ids=lambda e: f"{type(e).__name__}-{vars(e)}")
def test_it_is_the_weighted_sum_of_all_steps(ema: EMA) -> None:
    torch.manual_seed(0)
    network = nn.Linear(3, 2).double()
    average = Averaged(network, ema)
    history = [network.weight.detach().clone()]
    for step in range(1, 201):
        with torch.no_grad():
            network.weight.copy_(torch.randn(2, 3, dtype=torch.float64))
        average.update(step)
        history.append(network.weight.detach().clone())
    w = weights(ema, 200)
    assert float(w.sum()) == pytest.approx(1, abs=1e-12)
    brute = (w[:, None, None] * torch.stack(history)).sum(0)
    assert torch.allclose(average.network.weight, brute, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sigma_rel", [0.05, 0.1, 0.2])
def test_the_power_profile_has_its_exponent_and_the_width_asked_for(sigma_rel: float) -> None:
    ema = PowerEMA(sigma_rel)
    assert torch.allclose(weights(ema, 200)[1:], power_weights(200, ema.gamma), rtol=0, atol=1e-12)
    w = power_weights(20_000, ema.gamma)
    t = torch.linspace(0, 1, 20_000, dtype=torch.float64)
    mean = (w * t).sum()
    assert float((w * (t - mean) ** 2).sum().sqrt()) == pytest.approx(sigma_rel, rel=1e-3)


def test_warm_up_forgets_the_start_and_ends_at_the_fixed_decay() -> None:
    assert weights(WarmupEMA(0.999), 500)[0] < 1e-12
    assert weights(FixedEMA(0.999), 500)[0] > 0.5
    assert WarmupEMA(0.999).share(10**6) == pytest.approx(FixedEMA(0.999).share(1), rel=1e-12)


def test_buffers_are_copied_and_the_average_is_in_evaluation_mode() -> None:
    network = nn.BatchNorm1d(2)
    average = Averaged(network, PowerEMA())
    network(torch.randn(8, 2) + 5)
    average.update(3)
    assert torch.equal(average.network.running_mean, network.running_mean)
    assert not average.network.training
    assert not any(p.requires_grad for p in average.network.parameters())


@pytest.mark.parametrize("sigma_rel", [0.0, 0.29, -1.0, float("nan")])
def test_an_impossible_width_is_refused(sigma_rel: float) -> None:
    with pytest.raises(InputError, match="sigma_rel="):
        PowerEMA(sigma_rel)


@pytest.mark.parametrize("rule", [FixedEMA, WarmupEMA])
@pytest.mark.parametrize("decay", [1.0, -0.1, float("nan")])
def test_an_impossible_decay_is_refused(rule: type[FixedEMA], decay: float) -> None:
    with pytest.raises(InputError, match=r"ema\.decay="):
        rule(decay)
