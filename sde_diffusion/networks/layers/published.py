"""The body that the papers' U-Nets share, as they were published, so that their weights fit.

``UShape`` is this package's own body. What differs here is what a trained weight depends on: the
stem's width, where labels enter, sinusoids of a label up to 999, and the constants of group norms.
"""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Callable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sde_diffusion.conditions.condition import LABEL, Condition
from sde_diffusion.networks.layers import checks
from sde_diffusion.networks.layers.context import Context
from sde_diffusion.networks.registry import Network

# (c_in, c_out, attention, halves (-1), keeps (0) or doubles (1)) -> a block (x, context) -> x.
MakeBlock = Callable[[int, int, bool, int], nn.Module]


class Sinusoids(nn.Module):
    """cos and sin of c_noise 10000^(-i / n), i = 0 .. half - 1: [N] -> [N, 2 half].

    Args:
        width: 2 half. endpoint: n is half - 1 (Song et al.), or else half.
        sine_first: whether sines stand before cosines.
    """

    frequencies: Tensor

    def __init__(self, width: int, endpoint: bool = False, sine_first: bool = False) -> None:
        super().__init__()
        half = width // 2
        # Stored with the weights: a label of 999 shows how its authors rounded a frequency.
        steps = torch.arange(half, dtype=torch.float32, device="cpu") / max(half - endpoint, 1)
        frequencies = torch.exp(-math.log(10000.0) * steps)
        self.register_buffer("frequencies", frequencies)
        self.sine_first = sine_first

    def forward(self, c_noise: Tensor) -> Tensor:
        angles = wide(c_noise)[:, None] * self.frequencies.to(wide(c_noise))
        parts = (angles.sin(), angles.cos()) if self.sine_first else (angles.cos(), angles.sin())
        return torch.cat(parts, dim=1)


class DrawnFourier(nn.Module):
    """sin and cos of 2 pi z c_noise, z [half] ~ N(0, scale^2) drawn once and stored."""

    frequencies: Tensor

    def __init__(self, width: int, scale: float = 16.0) -> None:
        super().__init__()
        drawn = nn.init.normal_(torch.empty(width // 2), std=scale)
        self.register_buffer("frequencies", drawn)

    def forward(self, c_noise: Tensor) -> Tensor:
        label = wide(c_noise)
        angles = label[:, None] * (2 * math.pi * self.frequencies).to(label)
        return torch.cat([angles.sin(), angles.cos()], dim=1)


def wide(x: Tensor) -> Tensor:
    """x in float32 at least: in bfloat16 a label above 512 would move in steps of 4."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def one_hot(cond: Condition | None, rows: int, classes: int, like: Tensor) -> Tensor:
    """[N, classes] in the dtype and place of ``like``; a row without a class is all zeros."""
    if cond is None or LABEL not in cond:
        return like.new_zeros(rows, classes)
    label = cond.parts[LABEL]
    return F.one_hot(label.value, classes).to(like) * label.keep[:, None]


class PublishedUNet(Network, ABC):
    """Down through resolutions and up again; every output on the way down is a skip connection.

    Args:
        block: makes a block. channels, outputs: of the image and of the head.
        stem: width of the first convolution. widths: of each resolution, finest first.
        blocks: a resolution, one more on the way up. attention: indices into ``widths``.
        attention_up: after every block on the way up, or after the last alone.
    """

    def __init__(
        self,
        block: MakeBlock,
        *,
        channels: int,
        outputs: int,
        stem: int,
        widths: Sequence[int],
        blocks: int,
        attention: Sequence[int],
        attention_up: bool,
    ) -> None:
        super().__init__()
        self.channels, self.blocks = channels, blocks
        self.multiple = 2 ** (len(widths) - 1)
        self.stem = nn.Conv2d(channels, stem, 3, padding=1)
        width, skips = stem, [stem]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, c in enumerate(widths):
            stage = nn.ModuleList()
            if level > 0:
                stage.append(block(width, width, False, -1))
                skips.append(width)
            for _ in range(blocks):
                stage.append(block(width, c, level in attention, 0))
                width = c
                skips.append(width)
            self.down.append(stage)
        self.middle = nn.ModuleList([block(width, width, k == 0, 0) for k in range(2)])
        for level, c in reversed(list(enumerate(widths))):
            stage = nn.ModuleList()
            if level < len(widths) - 1:
                stage.append(block(width, width, False, 1))
            for k in range(blocks + 1):
                here = level in attention and (attention_up or k == blocks)
                stage.append(block(width + skips.pop(), c, here, 0))
                width = c
            self.up.append(stage)
        self.head_norm = nn.GroupNorm(min(32, width // 4), width)
        self.head = nn.Conv2d(width, outputs, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(cast(Tensor, self.head.bias))

    def fix_norms(self, eps: float, groups: int | None = None) -> None:
        """Give group norms their published constants; ``groups`` None: of 4 channels at least."""
        for module in self.modules():
            if isinstance(module, nn.GroupNorm):
                c = module.num_channels
                module.eps, module.num_groups = eps, groups or min(32, c // 4)

    def check(self, x: Tensor) -> None:
        """InputError unless x is a batch of images that the net can halve."""
        checks.halves(x, self.multiple)

    def inlet(self, level: int, x: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """The features of a level and the image on its way down, once it has joined them."""
        return x, image

    def outlet(self, stage: int, x: Tensor, picture: Tensor | None) -> Tensor | None:
        """The picture on its way up after a stage; None until it begins."""
        if stage < len(self.up) - 1:
            return None
        answer: Tensor = self.head(F.silu(self.head_norm(x)))
        return answer

    def body(self, x: Tensor, context: Context) -> Tensor:
        """x [N, C, H, W], context past its activation -> the first C channels of the head."""
        image, picture = x, None
        x = self.stem(x)
        skips = [x]
        for level, stage in enumerate(self.down):
            for i, block in enumerate(cast(nn.ModuleList, stage)):
                x = block(x, context)
                if level > 0 and i == 0:
                    x, image = self.inlet(level, x, image)
                skips.append(x)
        for block in self.middle:
            x = block(x, context)
        for index, stage in enumerate(self.up):
            blocks = list(cast(nn.ModuleList, stage))
            if index > 0:
                x = blocks.pop(0)(x, context)
            for block in blocks:
                x = block(torch.cat([x, skips.pop()], dim=1), context)
            picture = self.outlet(index, x, picture)
        assert picture is not None
        return picture[:, : self.channels]
