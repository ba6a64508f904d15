"""What each parameterization predicts, its published loss, and where that loss is least."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.closed_form import GaussianDenoiser
from sde_diffusion.denoisers.network import NetworkDenoiser
from sde_diffusion.denoisers.parameterization import (
    PARAMETERIZATIONS,
    KarrasPreconditioning,
    Parameterization,
)
from sde_diffusion.errors import InputError

SIGMA_DATA = 0.7
# Those of consistency functions are no choice of training.
NAMES = sorted(name for name, made in PARAMETERIZATIONS.items() if not made.ends)


def make(name: str) -> Parameterization:
    return KarrasPreconditioning(SIGMA_DATA) if name == "karras" else PARAMETERIZATIONS[name]()


class Fixed(nn.Module):
    """A network that returns a given output, or what a function of its input says."""

    def __init__(self, output: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.output = output
        self.dtype_holder = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, x: Tensor, c_noise: Tensor, cond: Condition | None) -> Tensor:
        return self.output(x)


# The published losses on a network output F, with x_0, noise n and noise level s [N, 1].
def epsilon_loss(f: Tensor, x_0: Tensor, n: Tensor, s: Tensor) -> Tensor:
    return (n - f) ** 2  # DDPM, arXiv:2006.11239, eq. 14


def v_loss(f: Tensor, x_0: Tensor, n: Tensor, s: Tensor) -> Tensor:
    phi = s.atan()  # alpha = cos phi, sigma = sin phi of the variance-preserving process
    return (phi.cos() * n - phi.sin() * x_0 - f) ** 2  # arXiv:2202.00512, appendix D


def flow_loss(f: Tensor, x_0: Tensor, n: Tensor, s: Tensor) -> Tensor:
    return (n - x_0 - f) ** 2  # arXiv:2209.03003, eq. 1


def x0_loss(f: Tensor, x_0: Tensor, n: Tensor, s: Tensor) -> Tensor:
    return (x_0 - f) ** 2


def score_loss(f: Tensor, x_0: Tensor, n: Tensor, s: Tensor) -> Tensor:
    x = x_0 + s * n
    return s**2 * (f - (x_0 - x) / s**2) ** 2  # arXiv:2011.13456, eq. 7, lambda = sigma^2


def karras_loss(f: Tensor, x_0: Tensor, n: Tensor, s: Tensor) -> Tensor:
    d = SIGMA_DATA  # arXiv:2206.00364, eq. 8 with lambda of table 1
    c_skip = d**2 / (s**2 + d**2)
    c_out = s * d / (d**2 + s**2).sqrt()
    weight = (s**2 + d**2) / (s * d) ** 2
    return weight * (c_skip * (x_0 + s * n) + c_out * f - x_0) ** 2


PUBLISHED = {
    "epsilon": epsilon_loss,
    "v": v_loss,
    "flow": flow_loss,
    "x0": x0_loss,
    "score": score_loss,
    "karras": karras_loss,
    "straight": flow_loss,  # as flow, with x_t for its input
    "discrete": epsilon_loss,  # what it predicts unless told otherwise
    "convention": epsilon_loss,
}


def test_every_parameterization_has_its_published_loss_here() -> None:
    assert sorted(PUBLISHED) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_is_the_published_one(name: str) -> None:
    g = torch.Generator().manual_seed(1)
    x_0, noise, f = torch.randn(3, 50, 4, generator=g, dtype=torch.float64)
    sigma = torch.logspace(-2, 1.5, 50, dtype=torch.float64)
    ours = NetworkDenoiser(Fixed(lambda x: f), make(name), (4,)).loss(x_0, sigma, noise, None)
    theirs = PUBLISHED[name](f, x_0, noise, sigma[:, None]).mean(1)
    # x_0 + sigma n rounds at 1e-16 sigma, and the weight returns it relative to F.
    assert torch.allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def exact_output(p: Parameterization, exact: GaussianDenoiser, sigma: Tensor) -> Fixed:
    """The network whose D is the exact denoiser at level sigma: F = (D - c_skip x) / c_out."""

    def output(scaled: Tensor) -> Tensor:
        x = scaled / p.c_in(sigma)
        return (exact(x, sigma) - p.c_skip(sigma) * x) / p.c_out(sigma)

    return Fixed(output)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("level", [0.05, 0.8, 10.0])
def test_the_true_denoiser_has_the_least_loss(name: str, level: float) -> None:
    """On N(m, diag(L)): D rebuilt equals the exact one, and any change of F costs.

    A change of F that moves D by 0.2 of its error, in either direction, adds 0.2^2 of the loss:
    the cross term is zero because D is the conditional mean. Sampling noise: 0.4 / sqrt(3 n).
    """
    g = torch.Generator().manual_seed(2)
    n, variance = 40_000, torch.tensor([0.04, 0.5, 2.0], dtype=torch.float64)
    exact = GaussianDenoiser(variance, torch.tensor([0.3, -1.0, 0.0], dtype=torch.float64))
    z, noise = torch.randn(2, n, 3, generator=g, dtype=torch.float64)
    x_0 = exact.from_modes(variance.sqrt() * z)
    sigma = torch.tensor(level, dtype=torch.float64)
    p = make(name)
    best = exact_output(p, exact, sigma)
    rebuilt = NetworkDenoiser(best, p, (3,))
    x = x_0 + sigma * noise
    assert torch.allclose(rebuilt(x, sigma), exact(x, sigma), rtol=1e-9, atol=1e-9)

    def loss(network: Fixed) -> float:
        denoiser = NetworkDenoiser(network, p, (3,))
        return float(denoiser.loss(x_0, sigma.expand(n), noise, None).mean())

    least = loss(best)
    error = (exact(x, sigma) - x_0).square().mean().sqrt() / p.c_out(sigma).abs()
    changes: list[Callable[[Tensor], Tensor]] = [torch.ones_like, lambda s: s, torch.cos]
    for q in changes:
        size = 0.2 * error / q(p.c_in(sigma) * x).square().mean().sqrt()
        for h in (-size, size):
            changed = Fixed(lambda s, h=h, q=q: best.output(s) + h * q(s))  # type: ignore[misc]
            assert loss(changed) == pytest.approx(1.04 * least, rel=0.01)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "straight"])
def test_a_network_sees_unit_inputs(name: str) -> None:
    """c_in scales x_0 + sigma n of unit (or sigma_data) variance to unit variance.

    The straight path's network takes x_t itself, whose variance is not one.
    """
    sigma = torch.logspace(-2, 2, 9, dtype=torch.float64)
    data = SIGMA_DATA if name == "karras" else 1.0
    std = make(name).c_in(sigma) * (data**2 + sigma**2).sqrt()
    assert torch.allclose(std, torch.ones_like(std), rtol=1e-12)


def test_karras_refuses_data_without_spread() -> None:
    with pytest.raises(InputError, match="sigma_data=0"):
        KarrasPreconditioning(0.0)
