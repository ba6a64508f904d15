"""Self-attention over the positions of an image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sde_diffusion.networks.layers.context import Context
from sde_diffusion.networks.layers.norms import group_norm, largest_divisor, scaled, zero_init


def heads_of(channels: int, head_width: int) -> int:
    """How many heads of about ``head_width`` channels divide ``channels``, at least 1."""
    return largest_divisor(channels, channels // head_width)


def split_heads(qkv: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """qkv [N, 3C, H, W] -> q, k, v, each [N, heads, H W, C / heads]."""
    n, c, h, w = qkv.shape
    split = qkv.reshape(n, 3, heads, c // (3 * heads), h * w).transpose(-1, -2)
    # The fused kernels want each position's channels side by side. A channels-last image has
    # them so; on the CPU the copy would change the last digits of trained models.
    if split.is_cuda and split.stride(-1) != 1:
        split = split.contiguous()
    q, k, v = split.unbind(1)
    return q, k, v


class Attention(nn.Module):
    """Residual self-attention over the H W positions of x [N, C, H, W] (Vaswani et al. 2017).

    The sum with its input is times ``gain``: 1, or 1/sqrt 2 (see ``ResidualBlock``). With
    ``token_width`` D each position also sees the tokens [N, T, D] of its context, in one softmax
    with the positions (GLIDE, arXiv:2112.10741).
    """

    def __init__(
        self, channels: int, head_width: int = 32, gain: float = 1.0, token_width: int = 0
    ) -> None:
        super().__init__()
        self.heads = heads_of(channels, head_width)
        self.gain = gain
        self.norm = group_norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = zero_init(nn.Conv2d(channels, channels, 1))
        self.kv = nn.Linear(token_width, 2 * channels) if token_width else None

    def forward(self, x: Tensor, context: Context) -> Tensor:
        q, k, v = split_heads(self.qkv(self.norm(x)), self.heads)
        mask = None
        if self.kv is not None and context.tokens is not None:
            n, t, _ = context.tokens.shape
            more = self.kv(context.tokens).reshape(n, t, 2, self.heads, -1).permute(2, 0, 3, 1, 4)
            k, v = torch.cat([k, more[0]], dim=2), torch.cat([v, more[1]], dim=2)
            if context.mask is not None:
                mask = F.pad(context.mask, (q.shape[2], 0), value=True)[:, None, None]
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        y = y.transpose(-1, -2).reshape(x.shape)
        return scaled(x + self.out(y), self.gain)
