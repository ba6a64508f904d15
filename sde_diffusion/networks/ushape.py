"""The body of every U-Net: down through some resolutions, and up again with skip connections."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.errors import InputError
from sde_diffusion.networks.layers import checks
from sde_diffusion.networks.layers.blocks import BlockChain, Reduce, enlarge
from sde_diffusion.networks.layers.context import Context
from sde_diffusion.networks.layers.embeddings import PLAIN, Embedded, EmbeddingLayers, NoiseFeatures
from sde_diffusion.networks.layers.norms import NormSilu, groups_of, zero_init
from sde_diffusion.networks.layers.resampling import Down, Up
from sde_diffusion.networks.layers.side import SideInputs

Conv = Callable[[int, int], nn.Module]


def conv(c_in: int, c_out: int) -> nn.Conv2d:
    """3 x 3."""
    return nn.Conv2d(c_in, c_out, 3, padding=1)


def zero_conv(c_in: int, c_out: int) -> nn.Conv2d:
    """3 x 3, of zeros."""
    return zero_init(conv(c_in, c_out))


def norm_silu(channels: int) -> NormSilu:
    """silu(group norm)."""
    return NormSilu(groups_of(channels), channels)


def side_by_side(x: Tensor, skip: Tensor) -> Tensor:
    """The channels of both."""
    return torch.cat([x, skip], dim=1)


@dataclass(frozen=True)
class Layers:
    """What a U-Net is made of: classes and functions that take numbers of channels.

    Attributes:
        down, up: (c_in, c_out, head_width=None, resample=None) -> a residual block
            (x, context) -> x of the way down, and of the middle and the way up.
        stem, head: the first convolution and the last, which gives 0 at the start.
        reduce, enlarge: (x, context) -> x of half the size, and of twice, outside of a block.
        norm: what stands before the head.
        cat: the channels of x and of a skip connection, side by side.
        embedding: what the embedding is made of.
    """

    down: Callable[..., nn.Module]
    up: Callable[..., nn.Module]
    stem: Conv = conv
    head: Conv = zero_conv
    reduce: Callable[[int], nn.Module] = Reduce
    enlarge: Callable[[int], nn.Module] = enlarge
    norm: Callable[[int], nn.Module] = norm_silu
    cat: Callable[[Tensor, Tensor], Tensor] = side_by_side
    embedding: EmbeddingLayers = PLAIN


class UShape(Embedded, ABC):
    """A U-shaped network F(x, c_noise, cond) for images.

    The image is first rearranged from [N, C, H, W] to [N, C p^2, H/p, W/p], then runs through
    ``len(widths)`` resolutions, halved in between.

    Args:
        layers: what it is made of.
        embedding, features, classes, augment: see ``Embedded``.
        channels: image channels C.
        widths: feature channels of each resolution, finest first.
        blocks: residual blocks a resolution (one more on the way up).
        attention: indices into ``widths`` of the resolutions with self-attention.
        head_width: channels of an attention head.
        patch: p; H and W must divide by p 2^(len(widths) - 1).
        resample: filter with which residual blocks halve and double; None: strided convolutions.
        attention_up: attention after every block on the way up, or after the last one alone.
        middle: the blocks in the middle, each with attention or without; None: one, as the
            coarsest resolution.
        progressive: the image itself, filtered down, is added at each resolution, and the sum
            divided by sqrt 2 (needs a filter).
        coordinates: the stem also sees where each position is (CoordConv, arXiv:1807.03247).
        side: the encoders of what else it is conditioned on.
    """

    def __init__(
        self,
        layers: Layers,
        embedding: int,
        features: NoiseFeatures,
        classes: int,
        augment: int,
        *,
        channels: int,
        widths: Sequence[int],
        blocks: int,
        attention: Sequence[int],
        head_width: int,
        patch: int,
        resample: Sequence[int] | None = None,
        attention_up: bool = True,
        middle: Sequence[bool] | None = None,
        progressive: bool = False,
        coordinates: bool = False,
        side: SideInputs | None = None,
    ) -> None:
        super().__init__(embedding, features, classes, augment, layers.embedding)
        self.patch, self.blocks, self.coordinates = patch, blocks, coordinates
        self.multiple = patch * 2 ** (len(widths) - 1)
        taps = list(resample or ())
        heads = [head_width if level in attention else None for level in range(len(widths))]

        width, pixels = widths[0], channels * patch**2
        self.stem = layers.stem(pixels + 2 * coordinates, width)
        skips = [width]
        self.down = nn.ModuleList()
        self.inlets = nn.ModuleList()
        for level, c in enumerate(widths):
            stage = nn.ModuleList()
            if level > 0:
                stage.append(
                    layers.down(width, width, resample=Down(taps)) if taps else layers.reduce(width)
                )
                skips.append(width)
                if progressive:
                    self.inlets.append(nn.Sequential(Down(taps), layers.stem(pixels, width)))
                    pixels = width
            for _ in range(blocks):
                stage.append(layers.down(width, c, head_width=heads[level]))
                width = c
                skips.append(width)
            self.down.append(stage)
        centre = [heads[-1]] if middle is None else [head_width if on else None for on in middle]
        chain = [layers.up(width, width, head_width=head) for head in centre]
        self.middle = chain[0] if len(chain) == 1 else BlockChain(*chain)
        self.up = nn.ModuleList()
        for level, c in reversed(list(enumerate(widths))):
            stage = nn.ModuleList()
            for i in range(blocks + 1):
                head = heads[level] if attention_up or i == blocks else None
                stage.append(layers.up(width + skips.pop(), c, head_width=head))
                width = c
            if level > 0:
                stage.append(
                    layers.up(width, width, resample=Up(taps)) if taps else layers.enlarge(width)
                )
            self.up.append(stage)
        self.head_norm = layers.norm(width)
        self.head = layers.head(width, channels * patch**2)
        self.cat = layers.cat
        self.side = side
        self.places_differ = side is not None or bool(attention) or any(centre) or coordinates

    @property
    def convolutional(self) -> int:
        return 0 if self.places_differ else self.multiple

    def encode(self, cond: Condition) -> Condition:
        return cond if self.side is None else self.side.encode(cond)

    def told(self, x: Tensor, c_noise: Tensor, cond: Condition | None) -> Context:
        """What blocks are told of noise levels and conditions."""
        if self.side is None or cond is None:
            return Context(self.embed(x, c_noise, cond))
        cond = self.side.encode(cond)
        embedding = self.embed(x, c_noise, cond, self.side.pooled(cond))
        return self.side.context(embedding, cond)

    def forward(self, x: Tensor, c_noise: Tensor, cond: Condition | None = None) -> Tensor:
        """x [N, C, H, W], c_noise [N] (log sigma / 4 is about -1.6 .. 1.1) -> [N, C, H, W]."""
        checks.images(x)
        if x.shape[-1] % self.multiple or x.shape[-2] % self.multiple:
            raise InputError(
                f"network: image sides {tuple(x.shape[-2:])} must be multiples of "
                f"{self.multiple} = patch x 2^(widths - 1); lower network.patch or give "
                "fewer network.widths"
            )
        context = self.told(x, c_noise, cond)
        image = F.pixel_unshuffle(x, self.patch)
        x = self.stem(torch.cat([image, places(image)], dim=1) if self.coordinates else image)
        if context.features:
            x = x + context.features[0]
        skips = [x]
        for level, stage in enumerate(self.down):
            modules = iter(cast(nn.ModuleList, stage))
            if level > 0:
                x = next(modules)(x, context)
                if self.inlets:
                    x = image = 0.5**0.5 * (x + self.inlets[level - 1](image))
                if context.features:
                    x = x + context.features[level]
                skips.append(x)
            for block in modules:
                x = block(x, context)
                skips.append(x)
        x = self.middle(x, context)
        for stage in self.up:
            modules = iter(cast(nn.ModuleList, stage))
            for block in islice(modules, self.blocks + 1):
                x = block(self.cat(x, skips.pop()), context)
            for doubled in modules:
                x = doubled(x, context)
        return F.pixel_shuffle(self.head(self.head_norm(x)), self.patch)


def places(x: Tensor) -> Tensor:
    """Where each position of x [N, C, H, W] is, from -1 (left, top) to 1: [N, 2, H, W]."""
    n, _, h, w = x.shape
    across = torch.linspace(-1, 1, w, dtype=x.dtype, device=x.device).expand(n, 1, h, w)
    down = torch.linspace(-1, 1, h, dtype=x.dtype, device=x.device)[:, None].expand(n, 1, h, w)
    return torch.cat([across, down], dim=1)
