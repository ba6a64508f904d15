"""Denoisers: range, counting, shapes of sigma, dtypes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.function import FunctionDenoiser
from sde_diffusion.denoisers.network import NetworkDenoiser
from sde_diffusion.denoisers.parameterization import KarrasPreconditioning
from sde_diffusion.errors import InputError


class Scale(nn.Module):
    """F = w x + c_noise, which records the dtype it was called in."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(0.5))
        self.seen: list[torch.dtype] = []

    def forward(self, x: Tensor, c_noise: Tensor, cond: Condition | None) -> Tensor:
        self.seen.append(x.dtype)
        return self.w * x + c_noise.reshape(-1, *[1] * (x.ndim - 1))


def network_denoiser() -> NetworkDenoiser:
    return NetworkDenoiser(Scale(), KarrasPreconditioning(0.5), (2, 3), 0.01, 10.0)


def test_one_sigma_for_all_or_one_a_row() -> None:
    d, x = network_denoiser(), torch.randn(3, 2, 3)
    sigma = torch.tensor([0.02, 1.0, 9.0])
    rows = torch.cat([d(x[i : i + 1], sigma[i]) for i in range(3)])
    assert torch.allclose(d(x, sigma), rows, atol=1e-6)


def test_every_row_of_every_call_is_counted() -> None:
    d = network_denoiser()
    for n in (4, 1, 7):
        d(torch.zeros(n, 2, 3), torch.tensor(1.0))
    assert d.evaluations == 12


@pytest.mark.parametrize("level", [0.0099, 10.1, float("nan")])
def test_a_level_outside_the_range_is_refused_and_not_counted(level: float) -> None:
    d = network_denoiser()
    with pytest.raises(InputError, match=r"outside the model's training range 0\.01 \.\. 10;"):
        d(torch.zeros(2, 2, 3), torch.tensor([1.0, level]))
    assert d.evaluations == 0


@pytest.mark.parametrize("sigma_dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(), (3,)])
def test_the_state_keeps_its_dtype_and_the_network_its_own(
    dtype: torch.dtype, sigma_dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    network = Scale()
    d = NetworkDenoiser(network, KarrasPreconditioning(0.5), (2,))
    out = d(torch.ones(3, 2, dtype=dtype), torch.full(shape, 0.5, dtype=sigma_dtype))
    assert out.dtype == dtype
    assert network.seen == [torch.float32]


def test_a_callable_is_a_denoiser() -> None:
    d = FunctionDenoiser(lambda x, sigma: x / (1 + sigma**2), (2,))
    sigma = torch.tensor([1.0, 3.0])
    assert torch.allclose(d(torch.ones(2, 2), sigma), torch.tensor([[0.5, 0.5], [0.1, 0.1]]))
    assert d.evaluations == 2
