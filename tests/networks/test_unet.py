"""The U-Net: shapes, conditions, attention, refusals, and that it can learn."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.errors import InputError
from sde_diffusion.networks import UNet
from sde_diffusion.networks.layers.attention import Attention
from sde_diffusion.networks.layers.blocks import ResidualBlock
from sde_diffusion.networks.layers.context import Context
from sde_diffusion.networks.ushape import places


def unet(**args: Any) -> UNet:
    """A small network with random weights everywhere (a fresh one outputs zero)."""
    torch.manual_seed(0)
    defaults: dict[str, Any] = {"widths": [8, 16], "blocks": 1, "patch": 1, "embedding": 16}
    network = UNet(**{**defaults, **args}).eval().requires_grad_(False)
    for p in network.parameters():
        torch.nn.init.normal_(p, std=0.2)
    return network


def inputs(n: int = 3, channels: int = 1, side: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(1)
    return torch.randn(n, channels, side, side, generator=g), torch.linspace(-1.5, 1.1, n)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("widths", "blocks", "attention", "patch"),
    [
        ([8], 1, [], 1),
        ([8, 16], 2, [0, 1], 1),
        ([12, 20, 28], 1, [2], 2),
        ([40, 160], 1, [1], 4),
        ([100], 1, [0], 1),
    ],
)
def test_the_output_has_the_shape_of_the_image(
    channels: int, widths: list[int], blocks: int, attention: list[int], patch: int
) -> None:
    network = unet(
        channels=channels, widths=widths, blocks=blocks, attention=attention, patch=patch
    )
    x, c_noise = inputs(channels=channels)
    assert network(x, c_noise).shape == x.shape
    wide = torch.cat([x, x], dim=3)
    assert network(wide, c_noise).shape == wide.shape


def test_a_fresh_network_outputs_zero() -> None:
    x, c_noise = inputs()
    assert torch.equal(UNet(widths=[8, 8], patch=1)(x, c_noise), torch.zeros_like(x))


def test_rows_do_not_mix() -> None:
    network, (x, c_noise) = unet(classes=4, attention=[1]), inputs()
    cond = Condition.label([0, 3, 1])
    rows = [network(x[i : i + 1], c_noise[i : i + 1], cond[i : i + 1]) for i in range(3)]
    assert torch.allclose(network(x, c_noise, cond), torch.cat(rows), atol=1e-5)


def test_a_dropped_label_is_no_condition() -> None:
    network, (x, c_noise) = unet(classes=4), inputs()
    none = network(x, c_noise)
    cond = Condition.label([0, 3, 1])
    assert torch.allclose(network(x, c_noise, cond.dropped()), none, atol=1e-6)
    assert torch.allclose(network(x, c_noise, Condition.label([-1] * 3)), none, atol=1e-6)
    mixed = network(x, c_noise, cond.dropped(torch.tensor([True, False, False])))
    assert torch.allclose(mixed[0], none[0], atol=1e-6)
    assert float((mixed[1] - none[1]).abs().max()) > 1e-3


def test_label_noise_level_and_image_all_matter() -> None:
    network, (x, c_noise) = unet(classes=4), inputs()
    base = network(x, c_noise, Condition.label([0, 0, 0]))
    for other in (
        network(x, c_noise, Condition.label([1, 1, 1])),
        network(x, c_noise + 0.2, Condition.label([0, 0, 0])),
        network(x + 0.2, c_noise, Condition.label([0, 0, 0])),
    ):
        assert bool(((other - base).abs().amax(dim=(1, 2, 3)) > 1e-3).all())


def test_an_unconditional_network_ignores_labels() -> None:
    network, (x, c_noise) = unet(), inputs()
    assert torch.equal(network(x, c_noise, Condition.label([0, 3, 1])), network(x, c_noise))


def test_attention_is_where_it_was_asked_for() -> None:
    names = [n for n, _ in unet(widths=[8, 8, 8], attention=[1]).named_modules()]
    levels = {n.split(".")[1] for n in names if n.startswith("down") and n.endswith(".qkv")}
    assert levels == {"1"}


def test_attention_of_the_published_nets() -> None:
    """DDPM++ and ADM: after each block down, after the last up, and in the middle's first."""
    options: dict[str, Any] = {"widths": [8, 8, 8], "blocks": 2, "attention": [1]}
    network = unet(**options, attention_up=False, middle=[True, False], resample=[1, 1])
    found = {n.removesuffix(".attention.qkv") for n, _ in network.named_modules() if "qkv" in n}
    assert found == {"down.1.1", "down.1.2", "middle.0", "up.1.2"}


@pytest.mark.parametrize(("head_width", "heads"), [(4, 8), (32, 1), (64, 1), (12, 2)])
def test_heads_are_as_wide_as_asked(head_width: int, heads: int) -> None:
    network = unet(widths=[32], attention=[0], head_width=head_width)
    found = {m.heads for m in network.modules() if type(m) is Attention}
    assert found == {heads}


@pytest.mark.parametrize(("head_width", "sums"), [(None, 1), (4, 2)])
def test_skip_scaling_divides_each_sum_by_sqrt_2(head_width: int | None, sums: int) -> None:
    """One sum in a block and one in its attention, whose branch is 0 at the start."""
    torch.manual_seed(0)
    plain = ResidualBlock(8, 12, 8, 0.0, head_width)
    torch.nn.init.normal_(plain.conv_out.weight)
    balanced = ResidualBlock(8, 12, 8, 0.0, head_width, balanced=True)
    balanced.load_state_dict(plain.state_dict())
    x, told = torch.randn(2, 8, 6, 6), Context(torch.randn(2, 8))
    assert torch.allclose(balanced(x, told), plain(x, told) / 2 ** (sums / 2), atol=1e-5)


def test_without_scale_the_embedding_shifts_before_the_norm() -> None:
    """A shift of all channels alike is lost in the norm (one group); a scale would not be."""
    block = ResidualBlock(4, 4, 1, 0.0, None, scale_shift=False)
    block.norm_out = torch.nn.GroupNorm(1, 4)
    torch.nn.init.normal_(block.conv_out.weight)
    torch.nn.init.ones_(block.affine.weight)
    x = torch.randn(1, 4, 8, 8)
    zeros, ones = Context(torch.zeros(1, 1)), Context(torch.ones(1, 1))
    a, b = block(x, zeros), block(x, ones)
    assert torch.allclose(a, b, atol=1e-4)
    torch.nn.init.normal_(block.affine.weight)
    assert not torch.allclose(a, block(x, ones), atol=1e-2)


def test_attention_sees_the_whole_image() -> None:
    """One changed pixel reaches the far corner with attention, and not with one convolution."""
    for attention, reaches in (([0], True), ([], False)):
        network = unet(widths=[8], attention=attention)
        norms = [m for m in network.modules() if type(m) is torch.nn.GroupNorm]
        x = torch.zeros(1, 8, 32, 32)
        x[..., 0, 0] = 1.0
        block = network.down[0][0]  # type: ignore[index]
        for norm in norms:  # group statistics also reach everywhere: take them out
            norm.forward = torch.nn.Identity().forward  # type: ignore[method-assign]
        told = Context(torch.zeros(1, 16))
        change = (block(x, told) - block(torch.zeros_like(x), told))[..., 31, 31]
        assert bool(change.abs().max() > 1e-7) is reaches


@pytest.mark.parametrize("coordinates", [False, True])
def test_coordinates_tell_where_a_position_is(coordinates: bool) -> None:
    """Without, the stem gives a flat image the same answer everywhere but at its edge."""
    network, seen = unet(widths=[8], attention=[], patch=2, coordinates=coordinates), []
    network.stem.register_forward_hook(lambda module, given, y: seen.append(y))
    network(torch.full((2, 1, 16, 16), 0.3), torch.zeros(2))
    inner = seen[0][..., 1:-1, 1:-1]
    assert (float(inner.std(2).max()) > 1e-3) is coordinates
    assert (float(inner.std(3).max()) > 1e-3) is coordinates


def test_places_run_from_left_and_top() -> None:
    where = places(torch.zeros(2, 3, 3, 5))
    assert torch.equal(where[1, 0, 2], torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0]))
    assert torch.equal(where[1, 1, :, 4], torch.tensor([-1.0, 0.0, 1.0]))


def test_a_network_with_coordinates_is_not_the_same_everywhere() -> None:
    options: dict[str, Any] = {"widths": [8], "attention": []}
    assert unet(**options).convolutional
    assert not unet(**options, coordinates=True).convolutional


def test_works_in_float64_and_bfloat16() -> None:
    x, c_noise = inputs()
    for dtype in (torch.float64, torch.bfloat16):
        out = unet().to(dtype)(x.to(dtype), c_noise.to(dtype))
        assert out.dtype == dtype
        assert torch.allclose(out.float(), unet()(x, c_noise), atol=0.15, rtol=0.1)


def test_sides_that_do_not_divide_name_the_remedy() -> None:
    x, c_noise = inputs(side=10)
    with pytest.raises(InputError, match=r"multiples of 4 .* lower network\.patch"):
        unet(widths=[8, 8], patch=2)(x, c_noise)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("widths", []),
        ("widths", [8] * 9),
        ("widths", [8, 3]),
        ("blocks", 0),
        ("patch", 0),
        ("embedding", 0),
        ("classes", -1),
        ("dropout", 1.5),
        ("attention", [2]),
        ("channels", 0),
        ("head_width", 0),
        ("middle", []),
        ("middle", [1]),
        ("scale_shift", 1),
        ("attention_up", None),
        ("coordinates", 1),
        ("resample", [1, 2, 1]),
        ("resample", [0, 0]),
        ("resample", [1, -1]),
        ("augment", -1),
    ],
)
def test_impossible_sizes_are_named(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"network\.{name}"):
        unet(**{name: value})


def test_it_learns_two_labelled_images() -> None:
    torch.manual_seed(0)
    network = UNet(widths=[8, 16], blocks=1, patch=1, embedding=16, classes=2)
    targets, cond = torch.randn(2, 1, 8, 8), Condition.label([0, 1])
    x, c_noise = torch.zeros(2, 1, 8, 8), torch.zeros(2)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        loss = (network(x, c_noise, cond) - targets).square().mean()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.1  # 1 at the start; the two differ by their label alone
