"""Magnitude-preserving layers: what they keep at the start and through training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.errors import InputError
from sde_diffusion.models.spec import Spec
from sde_diffusion.networks import UNet
from sde_diffusion.networks.layers.blocks import ResidualBlock
from sde_diffusion.networks.layers.context import Context
from sde_diffusion.networks.layers.magnitude import (
    MPAttention,
    MPBlock,
    MPConv,
    MPLinear,
    MPTable,
    PixelNorm,
    UnitRows,
    mp_cat,
    mp_silu,
    mp_sum,
    unit_layers,
)
from tests.training.small import CONFIG, finish, trainer

ARGS: dict[str, Any] = {
    "channels": 3, "widths": [32, 48], "blocks": 5, "attention": [1], "patch": 1,
    "embedding": 64, "classes": 4, "resample": [1, 1], "head_width": 16,
}  # fmt: skip


def unet(**args: Any) -> UNet:
    torch.manual_seed(0)
    return UNet(**{**ARGS, "magnitude_preserving": True, **args})


def rms(x: Tensor) -> float:
    return float(x.detach().square().mean().sqrt())


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def row_norms(w: Tensor) -> Tensor:
    return w.detach().flatten(1).norm(dim=1)


def test_silu_keeps_the_magnitude_of_a_normal() -> None:
    assert rms(mp_silu(normal(1_000_000))) == pytest.approx(1.0, abs=3e-3)


@pytest.mark.parametrize("t", [0.0, 0.3, 0.5, 1.0])
def test_sums_keep_the_magnitude_of_uncorrelated_terms(t: float) -> None:
    a, b = normal(2, 500_000)
    assert rms(mp_sum(a, b, t)) == pytest.approx(1.0, abs=5e-3)
    assert rms(mp_sum(a, a, t)) >= 1.0  # correlated terms do not cancel


@pytest.mark.parametrize(("a", "b"), [(8, 8), (4, 28)])
def test_concatenation_keeps_the_magnitude_and_shares_it(a: int, b: int) -> None:
    x, y = normal(4, a, 64, 64), normal(4, b, 64, 64)
    both = mp_cat(x, y)
    assert rms(both) == pytest.approx(1.0, abs=1e-2)
    parts = [p.square().sum() for p in (both[:, :a], both[:, a:])]
    assert float(parts[0] / parts[1]) == pytest.approx(1.0, abs=3e-2)


LAYERS = [
    (lambda: MPConv(64, 32, 3), normal(2, 64, 32, 32)),
    (lambda: MPConv(64, 32, 1), normal(2, 64, 32, 32)),
    (lambda: MPLinear(64, 32), normal(512, 64)),
    (lambda: MPTable(512, 64), torch.arange(512)),
]


@pytest.mark.parametrize(("make", "x"), LAYERS, ids=["conv3", "conv1", "linear", "table"])
def test_layers_keep_magnitude_whatever_the_scale_of_their_weights(make: Any, x: Tensor) -> None:
    """Within the border of zeros that a 3 x 3 convolution sees, and 5 % of chance."""
    torch.manual_seed(0)
    layer = make().eval()
    out = layer(x)
    assert rms(out) == pytest.approx(1.0, abs=0.05)
    layer.weight.data *= 7
    assert torch.allclose(layer(x), out, atol=1e-5)


@pytest.mark.parametrize(("make", "x"), LAYERS, ids=["conv3", "conv1", "linear", "table"])
def test_gradients_are_orthogonal_to_weights(make: Any, x: Tensor) -> None:
    torch.manual_seed(0)
    layer = make().train()
    (layer(x) - normal(*layer(x).shape)).square().mean().backward()
    w, g = layer.weight.detach().flatten(1), layer.weight.grad.flatten(1)
    cosine = (w * g).sum(1) / (w.norm(dim=1) * g.norm(dim=1))
    assert float(cosine.abs().max()) < 1e-5


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_forced_norms_leave_the_function_alone(form: torch.memory_format) -> None:
    """Stored rows of any norm are used at norm 1, and put back to norm sqrt(fan in)."""
    network = unet().to(memory_format=form)
    for p in network.parameters():
        p.data *= 3
    x, c, cond = normal(2, 3, 8, 8), torch.zeros(2), Condition.label([0, 1])
    network.head.gain.data += 1  # type: ignore[union-attr, operator]
    out = network(x, c, cond)
    layers = unit_layers(network)
    assert len(layers) > 60
    for m in layers:
        assert torch.allclose(row_norms(m.rows()), torch.ones(len(m.weight)), atol=1e-5)
    strides = [m.weight.stride() for m in layers]
    for m in layers:
        m.force()
        fan_in = m.weight[0].numel()
        assert torch.allclose(row_norms(m.weight) ** 2, torch.tensor(1.0 * fan_in), rtol=1e-5)
    assert strides == [m.weight.stride() for m in layers]
    assert torch.allclose(network(x, c, cond), out, atol=1e-4)


def test_training_forces_norms(tmp_path: Path) -> None:
    args = {**ARGS, "channels": 1, "widths": [8], "blocks": 1, "attention": [], "classes": 2}
    spec = Spec("unet", {**args, "magnitude_preserving": True}, "karras", {}, (1, 8, 8), classes=2)
    run = trainer(tmp_path, replace(CONFIG, lr=0.05), spec)
    finish(run)
    layers = [m for m in run.denoiser.modules() if isinstance(m, UnitRows)]
    assert layers
    for m in layers:
        fan_in = m.weight[0].numel()
        assert torch.allclose(row_norms(m.weight) ** 2, torch.tensor(1.0 * fan_in), rtol=1e-5)


def test_without_it_every_step_makes_rows_longer() -> None:
    """Since gradients are orthogonal to weights: |w - g|^2 = |w|^2 + |g|^2."""
    torch.manual_seed(0)
    layer, x = MPLinear(64, 32), normal(512, 64)
    before = row_norms(layer.weight)
    (layer(x) - normal(512, 32)).square().sum().backward()
    assert layer.weight.grad is not None
    torch.optim.SGD(layer.parameters(), 1.0).step()
    grown = (before**2 + row_norms(layer.weight.grad) ** 2).sqrt()
    assert torch.allclose(row_norms(layer.weight), grown, rtol=1e-5)
    assert bool((grown > 1.01 * before).all())


def magnitudes(network: UNet, kind: type[nn.Module]) -> list[float]:
    """RMS of the output of every block, in order, for unit-variance images."""
    found: list[float] = []
    for m in network.modules():
        if isinstance(m, kind):
            m.register_forward_hook(lambda _m, _i, out: found.append(rms(out)))
    network(normal(4, 3, 16, 16), torch.linspace(-1.5, 1.1, 4), Condition.label([0, 1, 2, 3]))
    return found


def test_activations_keep_unit_magnitude_through_depth() -> None:
    """All 25 blocks within 25 % of 1 at the start; those of a plain U-Net are not.

    What is lost is lost to borders of zeros, to the mean that attention takes, and to halving,
    and is won back by the pixel norm on the way down: it does not pile up with depth.
    """
    found = magnitudes(unet(widths=[64, 96]), MPBlock)
    assert len(found) == 25
    assert all(0.75 < m < 1.25 for m in found), found
    plain = magnitudes(unet(widths=[64, 96], magnitude_preserving=False), ResidualBlock)
    assert len(plain) == 25
    assert min(plain) < 0.2


def test_the_embedding_has_unit_magnitude() -> None:
    network = unet()
    c, cond = torch.linspace(-1.5, 1.1, 64), Condition.label([i % 4 for i in range(64)])
    x = torch.zeros(64, 3, 1, 1)
    assert rms(network.embed(x, c, cond)) == pytest.approx(1.0, abs=0.2)


NOTHING = Context(torch.zeros(2, 1))


def test_attention_is_of_cosines() -> None:
    """Queries, keys and values of any scale attend alike."""
    torch.manual_seed(0)
    layer, x = MPAttention(16, 8), normal(2, 16, 4, 4)
    assert torch.allclose(layer(x, NOTHING), layer_with_input(layer, x, 5.0), atol=1e-5)


def layer_with_input(layer: MPAttention, x: Tensor, scale: float) -> Tensor:
    """The layer with its queries, keys and values computed from ``scale`` x."""
    handle = layer.qkv.register_forward_pre_hook(lambda _m, args: (scale * args[0],))
    out = layer(x, NOTHING)
    handle.remove()
    return out


def test_pixel_norm() -> None:
    out = PixelNorm()(5 * normal(2, 8, 4, 4))
    assert torch.allclose(out.square().mean(1), torch.ones(2, 4, 4), atol=1e-5)
    assert torch.equal(PixelNorm()(torch.zeros(1, 8, 2, 2)), torch.zeros(1, 8, 2, 2))


def test_it_has_no_biases_and_no_norms_with_weights() -> None:
    names = [name for name, _ in unet().named_parameters()]
    assert {name.rsplit(".", 1)[-1] for name in names} == {"weight", "gain"}
    assert not [m for m in unet().modules() if isinstance(m, nn.GroupNorm)]


@pytest.mark.parametrize("option", [{"skip_scaling": True}, {"scale_shift": False}])
def test_options_of_other_blocks_are_refused(option: dict[str, bool]) -> None:
    with pytest.raises(InputError, match="magnitude_preserving=True"):
        unet(**option)


def test_strided_convolutions_serve_too() -> None:
    network = unet(resample=None)
    assert network(normal(2, 3, 8, 8), torch.zeros(2)).shape == (2, 3, 8, 8)
    assert all(0.7 < m < 1.3 for m in magnitudes(network, MPBlock))
