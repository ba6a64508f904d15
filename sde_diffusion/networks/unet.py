"""A U-Net with residual blocks, self-attention and class labels, on a space-to-depth stem."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sde_diffusion.condition import Condition
from sde_diffusion.networks.registry import register


class Attention(nn.Module):
    """Residual self-attention over the H W positions of x [N, C, H, W] (Vaswani et al. 2017)."""

    def __init__(self, channels: int, head_channels: int = 32) -> None:
        super().__init__()
        self.heads = max(1, channels // head_channels)
        self.norm = nn.GroupNorm(min(32, channels // 4), channels)
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
        self.norm_in = nn.GroupNorm(min(32, c_in // 4), c_in)
        self.conv_in = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.affine = nn.Linear(c_emb, 2 * c_out)
        self.norm_out = nn.GroupNorm(min(32, c_out // 4), c_out)
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
    """

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
        self.patch = patch
        self.classes = classes
        self.multiple = patch * 2 ** (len(widths) - 1)
        self.register_buffer(
            "frequencies", torch.exp(torch.linspace(0.0, math.log(100.0), 64)), persistent=False
        )
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
                    nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, padding=1))
                )
            self.up.append(stage)
        self.head_norm = nn.GroupNorm(min(32, width // 4), width)
        self.head = zero_init(nn.Conv2d(width, channels * patch**2, 3, padding=1))

    def forward(self, x: Tensor, c_noise: Tensor, cond: Condition | None = None) -> Tensor:
        """x [N, C, H, W], c_noise [N] (log sigma / 4 is about -1.6 .. 1.1) -> [N, C, H, W]."""
        if x.shape[-1] % self.multiple or x.shape[-2] % self.multiple:
            raise ValueError(f"image sides {tuple(x.shape[-2:])} must divide by {self.multiple}")
        emb = self.embed(x, c_noise, cond)
        x = F.pixel_unshuffle(x, self.patch)
        x = self.stem(x)
        skips = [x]
        for stage in self.down:
            for module in stage:
                x = module(x, emb) if isinstance(module, ResidualBlock) else module(x)
                skips.append(x)
        x = self.middle(x, emb)
        for stage in self.up:
            for module in stage:
                if isinstance(module, ResidualBlock):
                    x = module(torch.cat([x, skips.pop()], dim=1), emb)
                else:
                    x = module(x)
        return F.pixel_shuffle(self.head(F.silu(self.head_norm(x))), self.patch)

    def embed(self, x: Tensor, c_noise: Tensor, cond: Condition | None) -> Tensor:
        """silu of the noise embedding plus the class embedding (zero where dropped) [N, E]."""
        angles = c_noise.to(x.dtype)[:, None] * self.frequencies.to(x.dtype)
        emb = self.embed_noise(torch.cat([angles.cos(), angles.sin()], dim=1))
        if self.embed_class is not None and cond is not None and "label" in cond.values:
            emb = emb + self.embed_class(cond.values["label"]) * cond.keep[:, None]
        return F.silu(emb)


def zero_init(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer with zero weights, so that a block starts as its skip connection."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
