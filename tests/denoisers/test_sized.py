"""Pictures of any size, and seamless ones: exact by what a torus is, refused where it cannot be."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sde_diffusion import wrap
from sde_diffusion.denoisers.network import NetworkDenoiser
from sde_diffusion.denoisers.parameterization import KarrasPreconditioning
from sde_diffusion.denoisers.sized import Sized, at_size
from sde_diffusion.denoisers.tiled import Tiled
from sde_diffusion.networks.unet import UNet
from tests.refusals import refused

SIGMA = torch.tensor(0.7, dtype=torch.float64)
X = torch.randn(2, 1, 16, 24, generator=torch.Generator().manual_seed(0))


def model(**options: object) -> NetworkDenoiser:
    """A network of 8 x 8 pictures with random weights, sides multiples of 4."""
    fields = {"widths": [8, 8], "blocks": 1, "attention": [], "patch": 2, "embedding": 8}
    torch.manual_seed(0)
    network = UNet(**{**fields, **options})  # type: ignore[arg-type]
    for p in network.parameters():
        torch.nn.init.normal_(p, std=0.2)
    return NetworkDenoiser(network, KarrasPreconditioning(), (1, 8, 8)).requires_grad_(False)


def moved(x: Tensor) -> Tensor:
    return torch.roll(x, (4, -8), (-2, -1))


@pytest.mark.parametrize("options", [{}, {"resample": [1, 1]}, {"blocks": 2, "patch": 1}])
def test_a_seamless_network_has_no_border(options: dict[str, object]) -> None:
    """What it draws of a moved picture is moved as far, over the edges; with a border it is not."""
    plain = model(**options)
    around = at_size(plain.seamless(), (1, 16, 24))
    assert torch.allclose(around(moved(X), SIGMA), moved(around(X, SIGMA)), atol=1e-5)
    bordered = at_size(plain, (1, 16, 24))
    assert not torch.allclose(bordered(moved(X), SIGMA), moved(bordered(X, SIGMA)), atol=1e-2)
    shared = zip(plain.network.parameters(), around.parameters(), strict=True)
    assert all(a.data_ptr() == b.data_ptr() for a, b in shared)
    assert plain.seamless().identity != plain.identity


def test_convolutions_are_asked_at_any_size_and_others_in_tiles() -> None:
    plain = model()
    sized = at_size(plain, (1, 16, 24))
    assert isinstance(sized, Sized)
    assert torch.equal(sized(X, SIGMA), plain(X, SIGMA))
    assert sized.shape == (1, 16, 24)
    assert at_size(plain, (1, 8, 8)) is plain
    assert isinstance(at_size(model(attention=[1]), (1, 16, 24)), Tiled)
    assert isinstance(at_size(wrap(lambda x, s: x, (1, 8, 8)).denoiser, (1, 9, 9)), Tiled)


def test_what_cannot_be_is_refused() -> None:
    with refused("size: 10 x 24", "multiples of 4", "8 x 24"):
        at_size(model(), (1, 10, 24))
    with refused("image: 10 x 24", "crop it", "2 more rows and 0 columns"):
        at_size(model(), (1, 10, 24), "image")
    with refused("size", "vectors"):
        at_size(wrap(lambda x, s: x, (3,)).denoiser, (1, 4, 4))
    for network in ({"attention": [1]}, {"middle": [True, False]}):
        with refused("seamless", "attention", "leave it out"):
            model(**network).seamless()
    with refused("seamless", "zeros", "unet_texture"):
        model(resample=[1, 3, 3, 1]).seamless()
    with refused("seamless", "convolutions"):
        wrap(lambda x, s: x, (1, 8, 8)).denoiser.seamless()
