"""EDM2 as published: the magnitude-preserving U-Net of Karras et al., for their weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sde_diffusion.conditions.condition import AUGMENT, Condition
from sde_diffusion.errors import InputError
from sde_diffusion.networks.layers import checks
from sde_diffusion.networks.layers.magnitude import UnitRows, mp_cat, mp_silu, mp_sum
from sde_diffusion.networks.layers.published import one_hot, wide
from sde_diffusion.networks.layers.resampling import Down, Up
from sde_diffusion.networks.registry import Network, register

EPS = 1e-4
CLIP = 256.0


def normalised(x: Tensor, dims: Sequence[int]) -> Tensor:
    """x over (1e-4 + its RMS along ``dims``): the paper adds where others clamp."""
    norm = torch.linalg.vector_norm(wide(x), dim=tuple(dims), keepdim=True)
    return x / (EPS + norm * (norm.numel() / x.numel()) ** 0.5).to(x.dtype)


class NormedRows(UnitRows):
    """A matrix or a convolution whose rows are used at norm ``gain`` (equation 47).

    The stored rows are put at RMS 1 by ``force`` after every optimizer step (equation 66).
    """

    def rows(self) -> Tensor:
        w = normalised(wide(self.weight), range(1, self.weight.ndim))
        return w / self.weight[0].numel() ** 0.5

    def forward(self, x: Tensor, gain: Tensor | None = None) -> Tensor:
        w = self.rows() if gain is None else self.rows() * gain
        w = w.to(x.dtype)
        if w.ndim == 2:
            return F.linear(x, w)
        return F.conv2d(x, w, padding=w.shape[-1] // 2)


class PhasedFourier(nn.Module):
    """sqrt 2 cos(w c_noise + phi) for drawn and stored w, phi (equation 75): [N] -> [N, K]."""

    frequencies: Tensor
    phases: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        frequencies, phases = torch.empty(width), torch.empty(width)
        self.register_buffer("frequencies", nn.init.normal_(frequencies, std=2 * math.pi))
        self.register_buffer("phases", nn.init.uniform_(phases, 0, 2 * math.pi))

    def forward(self, c_noise: Tensor) -> Tensor:
        label = wide(c_noise)
        angles = label[:, None] * self.frequencies.to(label) + self.phases.to(label)
        return angles.cos() * 2**0.5


class EDM2Block(nn.Module):
    """Figure 21 of the paper: residual branch with the embedding as a gain, then attention.

    Args:
        c_in, c_out, embedding: widths. down: on the way down, where the skip is projected first.
        turn: -1 halves, 1 doubles. head_width: of attention; 0 for none.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        embedding: int,
        down: bool,
        turn: int = 0,
        head_width: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.down, self.dropout = down, nn.Dropout(dropout)
        self.resample = (Down if turn < 0 else Up)([1, 1]) if turn else nn.Identity()
        self.gain = nn.Parameter(torch.zeros([]))
        self.conv_in = NormedRows(c_out, c_out if down else c_in, 3, 3)
        self.affine = NormedRows(c_out, embedding)
        self.conv_out = NormedRows(c_out, c_out, 3, 3)
        self.skip = NormedRows(c_out, c_in, 1, 1) if c_in != c_out else nn.Identity()
        self.heads = c_out // head_width if head_width else 0
        if self.heads:
            self.qkv = NormedRows(3 * c_out, c_out, 1, 1)
            self.out = NormedRows(c_out, c_out, 1, 1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        x = self.resample(x)
        if self.down:
            x = normalised(self.skip(x), [1])
        scale = self.affine(emb, self.gain) + 1
        y = mp_silu(self.conv_in(mp_silu(x)) * scale[:, :, None, None].to(x.dtype))
        y = self.conv_out(self.dropout(y))
        x = mp_sum(x if self.down else self.skip(x), y, 0.3)
        if self.heads:
            x = mp_sum(x, self.attend(x), 0.3)
        return x.clamp(-CLIP, CLIP)

    def attend(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        qkv = self.qkv(x).reshape(n, 3, self.heads, c // self.heads, h * w)
        q, k, v = normalised(qkv, [3]).transpose(-1, -2).unbind(1)
        y = F.scaled_dot_product_attention(q, k, v).transpose(-1, -2)
        return cast(Tensor, self.out(y.reshape(x.shape)))


@register("edm2")
class EDM2(Network):
    """Score network F(x, c_noise, cond) of arXiv:2312.02696, figure 21 (configuration G).

    Weights are equal to the published function. A row without a class is shown zeros, as there.

    Args:
        channels: image or latent channels C.
        widths: feature channels of each resolution, finest first.
        blocks: residual blocks a resolution (one more on the way up).
        attention: indices into ``widths`` of the resolutions with self-attention.
        noise: width of the noise features. embedding: width of the embedding.
        head_width: channels of an attention head.
        label_balance, concat_balance: weight of the class, and of the skip connections.
        classes: number of class labels, 0 for an unconditional network.
        dropout: dropout rate within residual blocks.
        augment: number of augmentation labels, added to the embedding; the paper has none.

    InputError, naming the argument, for sizes that make no network or do not divide an image.
    """

    def __init__(
        self,
        channels: int = 4,
        widths: Sequence[int] = (192, 384, 576, 768),
        blocks: int = 3,
        attention: Sequence[int] = (2, 3),
        noise: int = 192,
        embedding: int = 768,
        head_width: int = 64,
        label_balance: float = 0.5,
        concat_balance: float = 0.5,
        classes: int = 0,
        dropout: float = 0.0,
        augment: int = 0,
    ) -> None:
        checks.common(channels, embedding, classes, dropout, augment)
        checks.resolutions(widths, attention)
        checks.body(blocks, 1, head_width)
        checks.within(
            {
                "noise": (noise, 1, 8192),
                "label_balance": (label_balance, 0.0, 1.0),
                "concat_balance": (concat_balance, 0.0, 1.0),
            }
        )
        if concat_balance != 0.5:
            raise InputError(f"network.concat_balance={concat_balance}: give 0.5, as published")
        super().__init__()
        self.classes, self.label_balance = classes, label_balance
        self.multiple = 2 ** (len(widths) - 1)
        self.features = PhasedFourier(noise)
        self.embed_noise = NormedRows(embedding, noise)
        self.embed_class = NormedRows(embedding, classes) if classes else None
        self.embed_augment = NormedRows(embedding, augment) if augment else None
        self.stem = NormedRows(widths[0], channels + 1, 3, 3)
        self._add_blocks(widths, blocks, attention, embedding, head_width, dropout)
        self.head = NormedRows(channels, widths[0], 3, 3)
        self.head_gain = nn.Parameter(torch.zeros([]))

    def _add_blocks(
        self,
        widths: Sequence[int],
        blocks: int,
        attention: Sequence[int],
        embedding: int,
        head_width: int,
        dropout: float,
    ) -> None:
        """``down``, ``middle`` and ``up``, one list a resolution."""

        def block(c_in: int, c_out: int, down: bool, turn: int, attends: bool) -> EDM2Block:
            head = head_width if attends else 0
            return EDM2Block(c_in, c_out, embedding, down, turn, head, dropout)

        width, skips = widths[0], [widths[0]]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, c in enumerate(widths):
            stage = nn.ModuleList()
            if level > 0:
                stage.append(block(width, width, True, -1, False))
                skips.append(width)
            for _ in range(blocks):
                stage.append(block(width, c, True, 0, level in attention))
                width = c
                skips.append(width)
            self.down.append(stage)
        self.middle = nn.ModuleList([block(width, width, False, 0, k == 0) for k in range(2)])
        for level, c in reversed(list(enumerate(widths))):
            stage = nn.ModuleList()
            if level < len(widths) - 1:
                stage.append(block(width, width, False, 1, False))
            for _ in range(blocks + 1):
                stage.append(block(width + skips.pop(), c, False, 0, level in attention))
                width = c
            self.up.append(stage)

    def forward(self, x: Tensor, c_noise: Tensor, cond: Condition | None = None) -> Tensor:
        """x [N, C, H, W], c_noise [N] (log sigma / 4) -> [N, C, H, W]."""
        checks.halves(x, self.multiple)
        emb = self.embed_noise(self.features(c_noise).to(x.dtype))
        if self.embed_class is not None:
            hot = one_hot(cond, len(x), self.classes, x)
            emb = mp_sum(emb, self.embed_class(hot * self.classes**0.5), self.label_balance)
        if self.embed_augment is not None and cond is not None and AUGMENT in cond:
            emb = emb + self.embed_augment(cond.parts[AUGMENT].value.to(x.dtype))
        emb = mp_silu(emb)
        x = self.stem(torch.cat([x, torch.ones_like(x[:, :1])], dim=1))
        skips = [x]
        for stage in self.down:
            for block in cast(nn.ModuleList, stage):
                x = block(x, emb)
                skips.append(x)
        for block in self.middle:
            x = block(x, emb)
        for index, stage in enumerate(self.up):
            blocks = list(cast(nn.ModuleList, stage))
            if index > 0:
                x = blocks.pop(0)(x, emb)
            for block in blocks:
                x = block(mp_cat(x, skips.pop()), emb)
        return cast(Tensor, self.head(x, self.head_gain))
