"""Residual blocks, attention and DiT's block against diffusers' own, weight for weight."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from sde_diffusion.networks.dit import DiTBlock
from sde_diffusion.networks.layers.attention import Attention
from sde_diffusion.networks.layers.blocks import ResidualBlock
from sde_diffusion.networks.layers.context import Context
from sde_diffusion.networks.layers.norms import groups_of
from sde_diffusion.networks.layers.resampling import Down, Up

REASON = "diffusers is not installed; see [peers]"
resnet = pytest.importorskip("diffusers.models.resnet", reason=REASON)
processor = pytest.importorskip("diffusers.models.attention_processor", reason=REASON)
normalization = pytest.importorskip("diffusers.models.normalization", reason=REASON)
feedforward = pytest.importorskip("diffusers.models.attention", reason=REASON)

# Names of our weights, and of theirs.
BLOCK = {
    "norm_in": "norm1", "conv_in": "conv1", "affine": "time_emb_proj", "norm_out": "norm2",
    "conv_out": "conv2", "skip": "conv_shortcut",
}  # fmt: skip


def random(module: Any) -> Any:
    torch.manual_seed(0)
    for p in module.parameters():
        nn.init.normal_(p, std=0.3)
    return module.double().requires_grad_(False)


def translated(module: nn.Module, names: dict[str, str]) -> dict[str, torch.Tensor]:
    """The state of a module of ours under their names."""
    state = {}
    for name, value in module.state_dict().items():
        head, tail = name.split(".", 1)
        state[f"{names[head]}.{tail}"] = value
    return state


@pytest.mark.parametrize("resample", [None, "up", "down"])
@pytest.mark.parametrize(("kernel", "taps"), [("sde_vp", [1, 1]), ("fir", [1, 3, 3, 1])])
@pytest.mark.parametrize(
    ("c_in", "c_out", "scale_shift", "balanced"),
    [(8, 12, True, False), (8, 8, True, False), (8, 12, False, True), (8, 8, False, True)],
)
def test_residual_block(
    c_in: int,
    c_out: int,
    scale_shift: bool,
    balanced: bool,
    kernel: str,
    taps: list[int],
    resample: str | None,
) -> None:
    """ADM's (scale and shift) and DDPM++'s (shift, sums over sqrt 2), resampled both ways."""
    ours = random(
        ResidualBlock(
            c_in, c_out, 6, 0.0, None, {"up": Up(taps), "down": Down(taps), None: None}[resample],
            scale_shift, balanced,
        )
    )  # fmt: skip
    theirs = resnet.ResnetBlock2D(
        in_channels=c_in, out_channels=c_out, temb_channels=6, groups=groups_of(c_in),
        groups_out=groups_of(c_out), eps=1e-5, skip_time_act=True, kernel=kernel,
        time_embedding_norm="scale_shift" if scale_shift else "default",
        output_scale_factor=2**0.5 if balanced else 1.0,
        use_in_shortcut=True if balanced and resample else None,
        up=resample == "up", down=resample == "down",
    ).double()  # fmt: skip
    theirs.load_state_dict(translated(ours, BLOCK))
    x, emb = torch.randn(2, c_in, 8, 8).double(), torch.randn(2, 6).double()
    assert torch.allclose(ours(x, Context(emb)), theirs(x, emb), atol=1e-10)


@pytest.mark.parametrize("gain", [1.0, 0.5**0.5])
def test_attention(gain: float) -> None:
    ours = random(Attention(24, 8, gain))
    theirs = processor.Attention(
        query_dim=24, heads=3, dim_head=8, norm_num_groups=groups_of(24), eps=1e-5, bias=True,
        residual_connection=True, rescale_output_factor=1 / gain, _from_deprecated_attn_block=True,
    ).double()  # fmt: skip
    state = {f"group_norm.{name}": value for name, value in ours.norm.state_dict().items()}
    for name, value in ours.qkv.state_dict().items():
        for part, rows in zip("qkv", value.reshape(value.shape[:2]).chunk(3), strict=True):
            state[f"to_{part}.{name}"] = rows
    for name, value in ours.out.state_dict().items():
        state[f"to_out.0.{name}"] = value.reshape(value.shape[:2])
    theirs.load_state_dict(state)
    x = torch.randn(2, 24, 4, 6).double()
    nothing = Context(torch.zeros(2, 1).double())
    assert torch.allclose(ours(x, nothing), theirs(x), atol=1e-10)


def test_dit_block() -> None:
    """adaLN-zero, attention and MLP put together of their layers as DiT's block is."""
    ours = random(DiTBlock(24, 3, 10, 2.0, 0.0))
    ada = normalization.AdaLayerNormZero(24).double()
    ada.linear = ours.modulation
    attention = processor.Attention(query_dim=24, heads=3, dim_head=8, bias=True).double()
    state = {}
    for name in ("weight", "bias"):
        for part, rows in zip("qkv", getattr(ours.qkv, name).chunk(3), strict=True):
            state[f"to_{part}.{name}"] = rows
        state[f"to_out.0.{name}"] = getattr(ours.out, name)
    attention.load_state_dict(state)
    mlp = feedforward.FeedForward(24, mult=2, activation_fn="gelu-approximate").double()
    mlp.net[0].proj, mlp.net[2] = ours.mlp[0], ours.mlp[3]

    x, emb = torch.randn(2, 5, 24).double(), torch.randn(2, 10).double()
    y, gate, shift, scale, gate_mlp = ada(x, emb=emb)
    h = x + gate[:, None] * attention(y)
    h = h + gate_mlp[:, None] * mlp(ada.norm(h) * (1 + scale[:, None]) + shift[:, None])
    assert torch.allclose(ours(x, nn.functional.silu(emb)), h, atol=1e-10)
