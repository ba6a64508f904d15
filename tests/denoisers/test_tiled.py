"""Tiles: a denoiser that sees single pixels is the same in tiles; no seam; what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sde_diffusion import wrap
from sde_diffusion.conditions.condition import LAYOUT, Condition, Part
from sde_diffusion.denoisers.tiled import Tiled
from tests.refusals import refused

SIGMA = torch.tensor(0.7, dtype=torch.float64)


def pixelwise(x: Tensor, sigma: Tensor) -> Tensor:
    return x.tanh() / (1 + sigma**2)


def edged(x: Tensor, sigma: Tensor) -> Tensor:
    """An answer that is wrong in the outermost pixels, as that of zero-padded convolutions."""
    answer = torch.zeros_like(x)
    answer[..., 1:-1, 1:-1] = 1
    return answer


@pytest.mark.parametrize("size", [(1, 8, 8), (1, 9, 8), (1, 20, 13), (1, 31, 64)])
def test_a_denoiser_of_single_pixels_is_the_same_in_tiles(size: tuple[int, int, int]) -> None:
    tiled = Tiled(wrap(pixelwise, (1, 8, 8)).denoiser, size)
    x = torch.randn(2, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(tiled(x, SIGMA), pixelwise(x, SIGMA), atol=1e-12)
    assert tiled.evaluations == 2 * tiled.tiles
    assert tiled.shape == size


def test_the_error_of_a_tiles_edge_is_weighed_down_within() -> None:
    answer = Tiled(wrap(edged, (1, 8, 8)).denoiser, (1, 24, 24))(torch.zeros(1, 1, 24, 24), SIGMA)
    assert float(answer[..., 1:-1, 1:-1].min()) > 0.6  # a sharp change of tiles would leave zeros
    assert float(answer[..., 0, :].max()) == 0


def test_gradients_go_through_tiles() -> None:
    tiled = Tiled(wrap(pixelwise, (1, 8, 8)).denoiser, (1, 12, 8))
    x = torch.full((1, 1, 12, 8), 0.3, requires_grad=True)
    (slope,) = torch.autograd.grad(tiled(x, SIGMA).sum(), x)
    exact = (1 - torch.tensor(0.3).tanh() ** 2) / (1 + SIGMA**2)
    assert torch.allclose(slope, exact.float().expand_as(slope), atol=1e-6)


def test_what_cannot_be_tiled_is_refused() -> None:
    inner = wrap(pixelwise, (1, 8, 8)).denoiser
    with refused("size", "smaller", "give"):
        Tiled(inner, (1, 8, 7))
    cond = Condition({LAYOUT: Part.of(torch.zeros(1, 2, 8, 8))})
    with refused("layout", "leave it out"):
        Tiled(inner, (1, 8, 16)).check_condition(cond)
