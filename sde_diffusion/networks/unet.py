"""A U-Net with residual blocks, self-attention and class labels, on a space-to-depth stem."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sde_diffusion.condition import Condition
from sde_diffusion.errors import InputError
from sde_diffusion.networks.registry import register


class Attention(nn.Module):
    """Residual self-attention over the H W positions of x [N, C, H, W] (Vaswani et al. 2017)."""

    def __init__(self, channels: int, head_channels: int = 32) -> None:
        super().__init__()
        self.heads = largest_divisor(channels, channels // head_channels)
        self.norm = group_norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = zero_init(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        qkv = self.qkv(self.norm(x)).reshape(n, 3, self.heads, c // self.heads, h * w)
        q, k, v = qkv.transpose(-1, -2).unbind(1)
        y = F.scaled_dot_product_attention(q, k, v).transpose(-1, -2).reshape(n, c, h, w)
        return x + self.out(y)


class ResidualBlock(nn.Module):
    """conv(silu(norm(.))) twice, the embedding as scale and shift between (ADM, 2105.05233)."""

    def __init__(self, c_in: int, c_out: int, c_emb: int, dropout: float, attention: bool) -> None:
        super().__init__()
        self.norm_in = group_norm(c_in)
        self.conv_in = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.affine = nn.Linear(c_emb, 2 * c_out)
        self.norm_out = group_norm(c_out)
        self.dropout = nn.Dropout(dropout)
        self.conv_out = zero_init(nn.Conv2d(c_out, c_out, 3, padding=1))
        self.skip = nn.Identity() if c_in == c_out else nn.Conv2d(c_in, c_out, 1)
        self.attention = Attention(c_out) if attention else nn.Identity()

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        y = self.conv_in(F.silu(self.norm_in(x)))
        scale, shift = self.affine(emb)[:, :, None, None].chunk(2, dim=1)
        y = F.silu(self.norm_out(y) * (1 + scale) + shift)
        return self.attention(self.skip(x) + self.conv_out(self.dropout(y)))


@register("unet")
class UNet(nn.Module):
    """Score network F(x, c_noise, cond) for images.

    The image is first rearranged from [N, C, H, W] to [N, C p^2, H/p, W/p], then runs through
    ``len(widths)`` resolutions, halved in between, with skip connections.

    Args:
        channels: image channels C.
        widths: feature channels of each resolution, finest first.
        blocks: residual blocks a resolution (one more on the way up).
        attention: indices into ``widths`` of the resolutions with self-attention.
        patch: p of the space-to-depth stem; H and W must divide by p 2^(len(widths) - 1).
        embedding: width of the noise and class embedding.
        classes: number of class labels, 0 for an unconditional network.
        dropout: dropout rate within residual blocks.

    InputError, naming the argument, for sizes that make no network or do not divide an image.
    """

    frequencies: Tensor

    def __init__(
        self,
        channels: int = 1,
        widths: Sequence[int] = (64, 128),
        blocks: int = 2,
        attention: Sequence[int] = (1,),
        patch: int = 2,
        embedding: int = 256,
        classes: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        _check(channels, widths, blocks, attention, patch, embedding, classes, dropout)
        self.patch = patch
        self.classes = classes
        self.blocks = blocks
        self.multiple = patch * 2 ** (len(widths) - 1)
        # Computed on the CPU on every device: the same numbers everywhere.
        frequencies = torch.exp(torch.linspace(0.0, math.log(100.0), 64, device="cpu"))
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.embed_noise = nn.Sequential(
            nn.Linear(128, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        )
        self.embed_class = nn.Embedding(classes, embedding) if classes else None

        def block(c_in: int, c_out: int, level: int) -> ResidualBlock:
            return ResidualBlock(c_in, c_out, embedding, dropout, level in attention)

        width = widths[0]
        self.stem = nn.Conv2d(channels * patch**2, width, 3, padding=1)
        skips = [width]
        self.down = nn.ModuleList()
        for level, c in enumerate(widths):
            stage = nn.ModuleList()
            if level > 0:
                stage.append(nn.Conv2d(width, width, 3, stride=2, padding=1))
                skips.append(width)
            for _ in range(blocks):
                stage.append(block(width, c, level))
                width = c
                skips.append(width)
            self.down.append(stage)
        self.middle = block(width, width, len(widths) - 1)
        self.up = nn.ModuleList()
        for level, c in reversed(list(enumerate(widths))):
            stage = nn.ModuleList()
            for _ in range(blocks + 1):
                stage.append(block(width + skips.pop(), c, level))
                width = c
            if level > 0:
                stage.append(
                    nn.Sequential(
                        nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, padding=1)
                    )
                )
            self.up.append(stage)
        self.head_norm = group_norm(width)
        self.head = zero_init(nn.Conv2d(width, channels * patch**2, 3, padding=1))

    def forward(self, x: Tensor, c_noise: Tensor, cond: Condition | None = None) -> Tensor:
        """x [N, C, H, W], c_noise [N] (log sigma / 4 is about -1.6 .. 1.1) -> [N, C, H, W]."""
        if x.shape[-1] % self.multiple or x.shape[-2] % self.multiple:
            raise InputError(
                f"network.args: image sides {tuple(x.shape[-2:])} must be multiples of "
                f"{self.multiple} = patch x 2^(widths - 1); lower network.args.patch or give "
                "fewer network.args.widths"
            )
        emb = self.embed(x, c_noise, cond)
        x = self.stem(F.pixel_unshuffle(x, self.patch))
        skips = [x]
        for level, stage in enumerate(self.down):
            modules = iter(cast(nn.ModuleList, stage))
            if level > 0:
                x = next(modules)(x)
                skips.append(x)
            for block in modules:
                x = block(x, emb)
                skips.append(x)
        x = self.middle(x, emb)
        for stage in self.up:
            modules = iter(cast(nn.ModuleList, stage))
            for block in islice(modules, self.blocks + 1):
                x = block(torch.cat([x, skips.pop()], dim=1), emb)
            for upsample in modules:
                x = upsample(x)
        return F.pixel_shuffle(self.head(F.silu(self.head_norm(x))), self.patch)

    def embed(self, x: Tensor, c_noise: Tensor, cond: Condition | None) -> Tensor:
        """silu of the noise embedding plus the class embedding (zero where dropped) [N, E]."""
        angles = c_noise.to(x.dtype)[:, None] * self.frequencies.to(x.dtype)
        emb = self.embed_noise(torch.cat([angles.cos(), angles.sin()], dim=1))
        if self.embed_class is not None and cond is not None and "label" in cond.values:
            emb = emb + self.embed_class(cond.values["label"]) * cond.keep[:, None]
        return F.silu(emb)


def largest_divisor(n: int, limit: int) -> int:
    """The largest divisor of n that is at most ``limit``, and at least 1."""
    return next((d for d in range(limit, 1, -1) if n % d == 0), 1)


def group_norm(channels: int) -> nn.GroupNorm:
    """At most 32 groups of at least 4 channels (EDM)."""
    return nn.GroupNorm(largest_divisor(channels, min(32, channels // 4)), channels)


def _check(
    channels: int,
    widths: Sequence[int],
    blocks: int,
    attention: Sequence[int],
    patch: int,
    embedding: int,
    classes: int,
    dropout: float,
) -> None:
    """InputError, naming the argument, for sizes that make no network or an absurd one."""
    if not 1 <= len(widths) <= 8:
        raise InputError(f"network.args.widths: {len(widths)} resolutions; give 1 to 8")
    ranges: dict[str, tuple[float, float, float]] = {
        "channels": (channels, 1, 4096),
        "blocks": (blocks, 1, 64),
        "patch": (patch, 1, 64),
        "embedding": (embedding, 1, 8192),
        "classes": (classes, 0, 1_000_000),
        "dropout": (dropout, 0.0, 1.0),
    }
    ranges |= {f"widths[{i}]": (width, 4, 8192) for i, width in enumerate(widths)}
    ranges |= {f"attention[{i}]": (k, 0, len(widths) - 1) for i, k in enumerate(attention)}
    for name, (value, low, high) in ranges.items():
        if not low <= value <= high:
            raise InputError(f"network.args.{name}={value}: give {low:g} to {high:g}")


def zero_init(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer with zero weights, so that a block starts as its skip connection."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
