"""Magnitude-preserving layers: unit variance in, unit variance out (EDM2, arXiv:2312.02696).

Every row of a weight w [C_out, ...] is used at unit norm, so that a layer keeps the magnitude of
its input. Training also puts the stored rows back to norm sqrt(fan in), an RMS of 1, after every
optimizer step (``force``; section 2.3 of the paper): they would only grow, and Adam's steps
count for less and less. There are no biases and no group norms; what must scale has a learned gain.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sde_diffusion.networks.layers.attention import heads_of, split_heads
from sde_diffusion.networks.layers.blocks import Untouched
from sde_diffusion.networks.layers.context import Context

# RMS of silu(z), z ~ N(0, 1).
SILU_RMS = 0.596
# Weight of the branch in a residual sum.
BRANCH = 0.3


def mp_silu(x: Tensor) -> Tensor:
    """silu(x) / 0.596: of unit magnitude for x ~ N(0, 1) (equation 81)."""
    return F.silu(x) / SILU_RMS


def mp_sum(a: Tensor, b: Tensor, t: float) -> Tensor:
    """((1 - t) a + t b) / sqrt((1 - t)^2 + t^2), for a and b uncorrelated (equation 88)."""
    norm = math.hypot(1 - t, t)
    return torch.add(a * ((1 - t) / norm), b, alpha=t / norm)


def mp_cat(a: Tensor, b: Tensor) -> Tensor:
    """a [N, A, ...] and b [N, B, ...] side by side, each with half of the sum (equation 103)."""
    scale = (0.5 * (a.shape[1] + b.shape[1])) ** 0.5
    return torch.cat([a * (scale / a.shape[1] ** 0.5), b * (scale / b.shape[1] ** 0.5)], dim=1)


def unit_rms(x: Tensor, dim: int) -> Tensor:
    """x over its RMS along ``dim``: pixel norm for dim = 1 (equation 30)."""
    norm = torch.linalg.vector_norm(x, dim=dim, keepdim=True, dtype=accumulator(x.dtype))
    return x / (norm / x.shape[dim] ** 0.5).clamp_min(1e-4).to(x.dtype)


def unit_norm(w: Tensor) -> Tensor:
    """w [C_out, ...] with rows of norm 1, in the memory order that it has."""
    norm = torch.linalg.vector_norm(w, dim=tuple(range(1, w.ndim)), keepdim=True)
    return w / norm.clamp_min(1e-4)


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which sums of squares of ``dtype`` are taken: float32 at least."""
    return torch.promote_types(dtype, torch.float32)


class UnitRows(nn.Module, ABC):
    """A layer with one weight, whose rows are used at unit norm."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape))
        nn.init.normal_(self.weight)

    def rows(self) -> Tensor:
        """The weight with rows of unit norm."""
        return unit_norm(self.weight)

    @torch.no_grad()
    def force(self) -> None:
        """Put the stored rows back to norm sqrt(fan in); what the layer does stays the same."""
        self.weight.copy_(unit_norm(self.weight) * self.weight[0].numel() ** 0.5)

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor: ...


def unit_layers(network: nn.Module) -> list[UnitRows]:
    """The layers whose ``force`` is due after an optimizer step: those that learn."""
    layers = (module for module in network.modules() if isinstance(module, UnitRows))
    return [layer for layer in layers if layer.weight.requires_grad]


class MPConv(UnitRows):
    """A convolution [N, C_in, H, W] -> [N, C_out, H / stride, W / stride]."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__(c_out, c_in, kernel, kernel)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        padding = self.weight.shape[-1] // 2
        return F.conv2d(x, self.rows(), stride=self.stride, padding=padding)


class MPLinear(UnitRows):
    """A matrix, [N, C_in] -> [N, C_out]."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__(c_out, c_in)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.rows())


class MPTable(UnitRows):
    """A row for each of ``classes`` labels, int64 [N] -> [N, E], of unit magnitude over all."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return F.embedding(x, self.rows().t()) * self.weight.shape[1] ** 0.5


class Gained(nn.Module):
    """A layer's output times a learned gain, 0 at the start."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.gain = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * self.gain


class NoiseMap(MPLinear):
    """Cosines and sines [N, F], of magnitude 1 / sqrt 2, through a matrix."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(2**0.5 * x)


class MPStem(MPConv):
    """A 3 x 3 convolution of the image and a channel of ones, which stands for all biases."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__(c_in + 1, c_out, 3)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.cat([x, torch.ones_like(x[:, :1])], dim=1))


class PixelNorm(nn.Module):
    """Every pixel of x [N, C, H, W] at RMS 1 over its channels."""

    def forward(self, x: Tensor) -> Tensor:
        return unit_rms(x, dim=1)


class MPAttention(nn.Module):
    """Cosine self-attention: q, k and v of each position and head at RMS 1 (section 2.2)."""

    def __init__(self, channels: int, head_width: int) -> None:
        super().__init__()
        self.heads = heads_of(channels, head_width)
        self.qkv = MPConv(channels, 3 * channels, 1)
        self.out = MPConv(channels, channels, 1)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        q, k, v = (unit_rms(y, dim=-1) for y in split_heads(self.qkv(x), self.heads))
        y = F.scaled_dot_product_attention(q, k, v).transpose(-1, -2).reshape(x.shape)
        return mp_sum(x, self.out(y), BRANCH)


class MPBlock(nn.Module):
    """A residual block (figure 21): the embedding e scales, mp_silu(y (1 + gain affine(e))).

    On the way down the skip is projected, if need be, and pixel-normalised before the branch;
    on the way up the branch sees all channels and the skip is projected after.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        c_emb: int,
        dropout: float,
        head_width: int | None = None,
        resample: nn.Module | None = None,
        encoder: bool = False,
    ) -> None:
        super().__init__()
        skip = nn.Identity() if c_in == c_out else MPConv(c_in, c_out, 1)
        self.resample = resample or nn.Identity()
        self.before = nn.Sequential(skip, PixelNorm()) if encoder else nn.Identity()
        self.conv_in = MPConv(c_out if encoder else c_in, c_out, 3)
        self.affine = Gained(MPLinear(c_emb, c_out))
        self.dropout = nn.Dropout(dropout)
        self.conv_out = MPConv(c_out, c_out, 3)
        self.skip = nn.Identity() if encoder else skip
        self.attention = MPAttention(c_out, head_width) if head_width else Untouched()

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = self.before(self.resample(x))
        y = self.conv_in(mp_silu(x))
        y = mp_silu(y * (1 + self.affine(context.embedding))[:, :, None, None])
        y = self.conv_out(self.dropout(y))
        return self.attention(mp_sum(self.skip(x), y, BRANCH), context)
