"""The power-function average of weights against the weighted sum it stands for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sde_diffusion.ema import PowerEMA
from sde_diffusion.errors import InputError


def weights(steps: int, gamma: float) -> torch.Tensor:
    """w_i = (i^(gamma+1) - (i-1)^(gamma+1)) / t^(gamma+1), the profile i^gamma summed."""
    edges = (torch.arange(steps + 1, dtype=torch.float64) / steps) ** (gamma + 1)
    return edges.diff()


@pytest.mark.parametrize("sigma_rel", [0.05, 0.1, 0.2])
def test_it_is_the_weighted_sum_of_all_steps(sigma_rel: float) -> None:
    torch.manual_seed(0)
    network = nn.Linear(3, 2).double()
    ema = PowerEMA(network, sigma_rel)
    history = []
    for step in range(1, 201):
        with torch.no_grad():
            network.weight.copy_(torch.randn(2, 3, dtype=torch.float64))
        ema.update(network, step)
        history.append(network.weight.detach().clone())
    brute = (weights(200, ema.gamma)[:, None, None] * torch.stack(history)).sum(0)
    assert torch.allclose(ema.network.weight, brute, rtol=0, atol=1e-6)


@pytest.mark.parametrize("sigma_rel", [0.05, 0.1, 0.2])
def test_its_width_is_the_share_asked_for(sigma_rel: float) -> None:
    w = weights(20_000, PowerEMA(nn.Linear(1, 1), sigma_rel).gamma)
    t = torch.linspace(0, 1, 20_000, dtype=torch.float64)
    mean = (w * t).sum()
    assert float((w * (t - mean) ** 2).sum().sqrt()) == pytest.approx(sigma_rel, rel=1e-3)


def test_buffers_are_copied_and_the_average_is_in_evaluation_mode() -> None:
    network = nn.BatchNorm1d(2)
    ema = PowerEMA(network)
    network(torch.randn(8, 2) + 5)
    ema.update(network, 3)
    assert torch.equal(ema.network.running_mean, network.running_mean)
    assert not ema.network.training
    assert not any(p.requires_grad for p in ema.network.parameters())


@pytest.mark.parametrize("sigma_rel", [0.0, 0.29, -1.0, float("nan")])
def test_an_impossible_width_is_refused(sigma_rel: float) -> None:
    with pytest.raises(InputError, match="sigma_rel="):
        PowerEMA(nn.Linear(1, 1), sigma_rel)
