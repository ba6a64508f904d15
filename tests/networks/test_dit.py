"""The transformer: patches, positions, and the identity that it starts from."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.networks import DiT
from sde_diffusion.networks.dit import DiTBlock


def dit(**args: Any) -> DiT:
    """A small network with random weights everywhere."""
    torch.manual_seed(0)
    network = DiT(**{"width": 16, "depth": 2, "heads": 4, "embedding": 8, **args}).eval()
    for p in network.parameters():
        torch.nn.init.normal_(p, std=0.2)
    return network.requires_grad_(False)


def test_a_fresh_block_is_the_identity() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 5, 16)
    assert torch.equal(DiTBlock(16, 4, 8, 4.0, 0.0)(x, torch.randn(2, 8)), x)


def swap(x: Tensor, p: int) -> Tensor:
    """The image with its patches in reversed order, each upright."""
    n, c, h, w = x.shape
    grid = x.reshape(n, c, h // p, p, w // p, p)
    return grid.flip((2, 4)).reshape(n, c, h, w)


def test_without_positions_the_order_of_patches_is_free() -> None:
    network, x, c = dit(), torch.randn(2, 1, 8, 12), torch.tensor([0.3, -1.0])
    out = network(x, c)
    assert not torch.allclose(network(swap(x, 2), c), swap(out, 2), atol=1e-2)
    network.positions = lambda h, w: torch.zeros(h * w, 16)  # type: ignore[method-assign]
    out = network(x, c)
    assert torch.allclose(network(swap(x, 2), c), swap(out, 2), atol=1e-5)


def test_positions_tell_all_patches_apart_and_are_of_row_and_column() -> None:
    table = dit().positions(3, 5)
    assert table.shape == (15, 16)
    assert float(torch.cdist(table, table).fill_diagonal_(1.0).min()) > 0.1
    grid = table.reshape(3, 5, 16)
    assert torch.equal(grid[..., :8], grid[:, :1, :8].expand(3, 5, 8))  # the row's half
    assert torch.equal(grid[..., 8:], grid[:1, :, 8:].expand(3, 5, 8))  # the column's half
    # At the origin sines are 0 and cosines 1; sin^2 + cos^2 = 1 for every frequency.
    assert torch.equal(table[0], torch.tensor(([0.0] * 4 + [1.0] * 4) * 2))
    assert torch.allclose(table.square().sum(1), torch.full((15,), 8.0))


def test_a_patch_reaches_the_far_corner() -> None:
    network, c = dit(), torch.zeros(1)
    x = torch.randn(1, 1, 16, 16)
    moved = x.clone()
    moved[..., 0, 0] += 1
    assert float((network(moved, c) - network(x, c))[..., 14:, 14:].abs().max()) > 1e-5


def test_one_network_takes_any_size() -> None:
    for shape in ((1, 1, 4, 4), (2, 1, 6, 10)):
        assert dit()(torch.randn(shape), torch.zeros(shape[0])).shape == shape


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"width": 18}, r"width=18: must divide by 4"),
        ({"heads": 3}, r"heads=3"),
        ({"heads": 0}, r"heads=0"),
        ({"depth": 0}, r"depth=0"),
        ({"patch": 0}, r"patch=0"),
        ({"ratio": 0.0}, r"ratio=0"),
        ({"embedding": 0}, r"embedding=0"),
    ],
)
def test_impossible_sizes_are_named(args: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        dit(**args)


def test_sides_that_do_not_divide_name_the_remedy() -> None:
    with pytest.raises(InputError, match=r"patch=2: image sides \(8, 7\)"):
        dit()(torch.zeros(1, 1, 8, 7), torch.zeros(1))
