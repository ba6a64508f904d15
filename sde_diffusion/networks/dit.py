"""DiT: a transformer over patches, whose layers the embedding scales, shifts and gates."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.errors import InputError
from sde_diffusion.networks.layers import checks
from sde_diffusion.networks.layers.embeddings import Embedded, positional
from sde_diffusion.networks.layers.norms import zero_init
from sde_diffusion.networks.registry import register


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """x [N, T, D] (1 + scale) + shift, both [N, D]."""
    return torch.addcmul(shift[:, None], x, 1 + scale[:, None])


class DiTBlock(nn.Module):
    """x + g_1 attention(mod_1(norm x)), then x + g_2 mlp(mod_2(norm x)): adaLN-zero.

    x [N, T, D]; the gates g, scales and shifts are affine in the embedding [N, E], and all 0 at
    the start, where a block is the identity (arXiv:2212.09748, section 3.2).
    """

    def __init__(self, width: int, heads: int, embedding: int, ratio: float, dropout: float):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.modulation = zero_init(nn.Linear(embedding, 6 * width))
        self.qkv = xavier(nn.Linear(width, 3 * width))
        self.out = xavier(nn.Linear(width, width))
        hidden = int(ratio * width)
        self.mlp = nn.Sequential(
            xavier(nn.Linear(width, hidden)),
            nn.GELU(approximate="tanh"),
            nn.Dropout(dropout),
            xavier(nn.Linear(hidden, width)),
        )

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        b_1, s_1, g_1, b_2, s_2, g_2 = self.modulation(emb).chunk(6, dim=1)
        x = torch.addcmul(x, g_1[:, None], self.attend(modulate(self.norm(x), b_1, s_1)))
        return torch.addcmul(x, g_2[:, None], self.mlp(modulate(self.norm(x), b_2, s_2)))

    def attend(self, x: Tensor) -> Tensor:
        n, t, d = x.shape
        qkv = self.qkv(x).reshape(n, t, 3, self.heads, d // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, d))


@register("dit")
class DiT(Embedded):
    """Score network F(x, c_noise, cond) for images: patches as tokens (arXiv:2212.09748).

    Positions are fixed, cosines and sines of row and column, so any image size will do.

    Args:
        channels: image channels C.
        width: features of a token, D; divides by 4 and by ``heads``.
        depth: blocks.
        heads: attention heads.
        patch: side p of a patch; H and W must divide by it, and H W / p^2 is the tokens' number.
        ratio: hidden width of a block's MLP over ``width``.
        embedding: width of the noise and class embedding.
        classes: number of class labels, 0 for an unconditional network.
        dropout: dropout rate within the MLPs.
        augment: number of augmentation labels, 0 for none.

    InputError, naming the argument, for sizes that make no network or do not divide an image.
    """

    frequencies: Tensor

    def __init__(
        self,
        channels: int = 1,
        width: int = 384,
        depth: int = 12,
        heads: int = 6,
        patch: int = 2,
        ratio: float = 4.0,
        embedding: int = 384,
        classes: int = 0,
        dropout: float = 0.0,
        augment: int = 0,
    ) -> None:
        checks.common(channels, embedding, classes, dropout, augment)
        checks.within(
            {
                "width": (width, *checks.WIDTH),
                "depth": (depth, 1, 256),
                "heads": (heads, 1, 1024),
                "patch": (patch, 1, 64),
                "ratio": (ratio, 0.25, 64.0),
            }
        )
        if width % 4 or width % heads:
            raise InputError(
                f"network.width={width}: must divide by 4 and by network.heads={heads}"
            )
        super().__init__(embedding, positional(), classes, augment)
        self.patch = patch
        # 1 / 10000^(i / (D/4)); on the CPU, for the same numbers everywhere.
        steps = torch.arange(width // 4, device="cpu", dtype=torch.float64) / (width // 4)
        frequencies = torch.exp(-math.log(10000.0) * steps).float()
        self.register_buffer("frequencies", frequencies, persistent=False)
        pixels = channels * patch**2
        self.stem = xavier(nn.Linear(pixels, width))
        self.blocks = nn.ModuleList(
            DiTBlock(width, heads, embedding, ratio, dropout) for _ in range(depth)
        )
        self.head_norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.head_modulation = zero_init(nn.Linear(embedding, 2 * width))
        self.head = zero_init(nn.Linear(width, pixels))

    def forward(self, x: Tensor, c_noise: Tensor, cond: Condition | None = None) -> Tensor:
        """x [N, C, H, W], c_noise [N] (log sigma / 4 is about -1.6 .. 1.1) -> [N, C, H, W]."""
        checks.images(x)
        if x.shape[-1] % self.patch or x.shape[-2] % self.patch:
            raise InputError(
                f"network.patch={self.patch}: image sides {tuple(x.shape[-2:])} must be "
                "multiples of it"
            )
        emb = self.embed(x, c_noise, cond)
        h, w = x.shape[-2] // self.patch, x.shape[-1] // self.patch
        tokens = F.pixel_unshuffle(x, self.patch).flatten(2).transpose(1, 2)
        tokens = self.stem(tokens) + self.positions(h, w).to(x.dtype)
        for block in self.blocks:
            tokens = block(tokens, emb)
        tokens = modulate(self.head_norm(tokens), *self.head_modulation(emb).chunk(2, dim=1))
        return F.pixel_shuffle(self.head(tokens).transpose(1, 2).unflatten(2, (h, w)), self.patch)

    def positions(self, h: int, w: int) -> Tensor:
        """Sines and cosines of row and of column, D/4 of each: [h w, D]."""
        f = self.frequencies
        rows, columns = (torch.arange(n, device=f.device).to(f)[:, None] * f for n in (h, w))
        row = torch.cat([rows.sin(), rows.cos()], dim=1)[:, None].expand(h, w, -1)
        column = torch.cat([columns.sin(), columns.cos()], dim=1).expand(h, w, -1)
        return torch.cat([row, column], dim=2).flatten(0, 1)


def xavier(layer: nn.Linear) -> nn.Linear:
    """The layer with Glorot-uniform weights and no bias, as in the paper."""
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
