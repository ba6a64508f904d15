"""NCSN++: what it adds to the U-shape."""

from __future__ import annotations

import torch

from sde_diffusion.networks import NCSNpp
from sde_diffusion.networks.layers.resampling import Down, Up


def ncsnpp() -> NCSNpp:
    torch.manual_seed(0)
    network = NCSNpp(widths=[8, 8, 12], blocks=1, attention=[1], embedding=16, scale=1.0)
    for p in network.parameters():
        torch.nn.init.normal_(p, std=0.2)
    return network.eval().requires_grad_(False)


def test_it_is_resampled_with_the_fir_filter_throughout() -> None:
    f = torch.tensor([1.0, 3.0, 3.0, 1.0])
    filters = [m for m in ncsnpp().modules() if isinstance(m, Down | Up)]
    # Two blocks down, two inlets, two blocks up.
    assert len(filters) == 6
    assert all(torch.equal(m.kernel, torch.outer(f, f) / 64) for m in filters)


def test_the_image_enters_at_every_resolution() -> None:
    """With the way down cut at the stem, the output still depends on the image, by the inlets."""
    network, x, c = ncsnpp(), torch.randn(2, 1, 16, 16), torch.zeros(2)
    torch.nn.init.zeros_(network.stem.weight)  # type: ignore[arg-type]
    assert not torch.allclose(network(x, c), network(0 * x, c), atol=1e-3)
    first = network.inlets[0][1]  # type: ignore[index]
    torch.nn.init.zeros_(first.weight)
    assert torch.equal(network(x, c), network(0 * x, c))  # the second continues the first
