"""The network for vectors, alone and on the way from data to samples."""

from __future__ import annotations

import pytest
import torch

from sde_diffusion.errors import InputError
from sde_diffusion.models.spec import Spec
from sde_diffusion.networks import MLP
from sde_diffusion.process.grids import Karras
from sde_diffusion.process.sde import EDM
from sde_diffusion.sampling.execute import Execution
from sde_diffusion.sampling.sampler import Request, Sampler
from sde_diffusion.solvers.heun import Heun


def test_data_that_are_no_vectors_are_named() -> None:
    for shape in ((2, 3), (2, 2, 1, 1), (2,)):
        with pytest.raises(InputError, match=r"channels=2: data of shape .* for images"):
            MLP(channels=2, width=8)(torch.zeros(shape), torch.zeros(2))


def test_the_components_are_no_image() -> None:
    """No symmetry is built in: exchanging two components does not exchange the outputs."""
    torch.manual_seed(0)
    network, x, c = MLP(channels=3, width=16), torch.randn(4, 3), torch.zeros(4)
    torch.nn.init.normal_(network.head.weight)
    assert not torch.allclose(network(x.flip(1), c).flip(1), network(x, c), atol=1e-2)


def test_it_learns_to_sample_a_line() -> None:
    """Trained on x = (a, 2a, ...) a = -1 or 1, samples lie at the two points."""
    torch.manual_seed(0)
    spec = Spec("mlp", {"channels": 3, "width": 32, "blocks": 2, "embedding": 32},
                "karras", {"sigma_data": 1.0}, (3,), 0.01, 10.0)  # fmt: skip
    denoiser = spec.build()
    point = torch.tensor([0.5, 1.0, -0.5])
    optimizer = torch.optim.Adam(denoiser.parameters(), 3e-3)
    for _ in range(400):
        x_0 = torch.where(torch.rand(256, 1) < 0.5, -point, point)
        sigma = (1.2 * torch.randn(256) - 0.5).exp().clamp(0.01, 10.0)
        optimizer.zero_grad()
        denoiser.loss(x_0, sigma, torch.randn(256, 3), None).mean().backward()
        optimizer.step()
    sampler = Sampler.build(EDM(), denoiser.eval(), Heun(), Karras(sigma_min=0.01, sigma_max=10.0))
    with torch.no_grad():
        x = sampler.sample(Request(range(200), 20), Execution(200)).x
    sign = x @ point / point.square().sum()
    assert 0.3 < float((sign > 0).float().mean()) < 0.7  # 0.5 +- 4 standard errors, and bias
    assert float((x - sign.sign()[:, None] * point).square().mean().sqrt()) < 0.15
