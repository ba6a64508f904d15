"""The layers that networks are made of, as a kit, so that one body serves several kinds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sde_diffusion.networks.layers.blocks import Aside, Reduce, ResidualBlock
from sde_diffusion.networks.layers.norms import NormSilu, groups_of, scaled, zero_init


@dataclass(frozen=True)
class Kit(ABC):
    """Makes the layers of a network, and combines what they give.

    Attributes:
        embedding: width E of the embedding that blocks read.
        dropout: rate within residual blocks.
        head_width: channels of an attention head.
    """

    embedding: int
    dropout: float = 0.0
    head_width: int = 32

    @abstractmethod
    def activation(self, x: Tensor) -> Tensor:
        """silu, scaled as the kind scales it."""

    @abstractmethod
    def merge(self, emb: Tensor, told: Tensor) -> Tensor:
        """The embeddings of noise level and class [N, E], as one."""

    @abstractmethod
    def cat(self, x: Tensor, skip: Tensor) -> Tensor:
        """The channels of x and of a skip connection, side by side."""

    @abstractmethod
    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """Two branches [N, C, H, W], as one."""

    @abstractmethod
    def noise_map(self, features: int) -> nn.Module:
        """Noise features [N, F] -> [N, E]."""

    @abstractmethod
    def table(self, classes: int) -> nn.Module:
        """Labels int64 [N] -> [N, E]."""

    @abstractmethod
    def labels(self, k: int) -> nn.Module:
        """Augmentation labels [N, K] -> [N, E], 0 for zeros."""

    @abstractmethod
    def stem(self, c_in: int, c_out: int) -> nn.Module:
        """The convolution that first sees an image."""

    @abstractmethod
    def block(
        self,
        c_in: int,
        c_out: int,
        attention: bool = False,
        resample: nn.Module | None = None,
        encoder: bool = False,
    ) -> nn.Module:
        """A residual block (x, context) -> x of the way down (``encoder``), the middle or up."""

    @abstractmethod
    def reduce(self, channels: int) -> nn.Module:
        """(x, context) -> x of half the size, outside of a block."""

    @abstractmethod
    def enlarge(self, channels: int) -> nn.Module:
        """(x, context) -> x of twice the size, outside of a block."""

    @abstractmethod
    def head_norm(self, channels: int) -> nn.Module:
        """What stands before the head."""

    @abstractmethod
    def head(self, c_in: int, c_out: int) -> nn.Module:
        """The last convolution, which gives 0 at the start of training."""


@dataclass(frozen=True)
class Plain(Kit):
    """Group norms and biases; blocks as in ADM, or with two switches as in DDPM++.

    Attributes:
        scale_shift: whether the embedding scales and shifts, or shifts alone.
        balanced: whether sums of two branches are divided by sqrt 2.
        token_width: of what attention sees beside the image, 0 for nothing.
    """

    scale_shift: bool = True
    balanced: bool = False
    token_width: int = 0

    def activation(self, x: Tensor) -> Tensor:
        return F.silu(x)

    def merge(self, emb: Tensor, told: Tensor) -> Tensor:
        return emb + told

    def cat(self, x: Tensor, skip: Tensor) -> Tensor:
        return torch.cat([x, skip], dim=1)

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        return scaled(x + y, 0.5**0.5 if self.balanced else 1.0)

    def noise_map(self, features: int) -> nn.Module:
        width = self.embedding
        return nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width))

    def table(self, classes: int) -> nn.Module:
        return nn.Embedding(classes, self.embedding)

    def labels(self, k: int) -> nn.Module:
        return nn.Linear(k, self.embedding, bias=False)

    def stem(self, c_in: int, c_out: int) -> nn.Module:
        return nn.Conv2d(c_in, c_out, 3, padding=1)

    def block(
        self,
        c_in: int,
        c_out: int,
        attention: bool = False,
        resample: nn.Module | None = None,
        encoder: bool = False,
    ) -> nn.Module:
        return ResidualBlock(
            c_in,
            c_out,
            self.embedding,
            self.dropout,
            self.head_width if attention else None,
            resample,
            self.scale_shift,
            self.balanced,
            self.token_width,
        )

    def reduce(self, channels: int) -> nn.Module:
        return Reduce(channels)

    def enlarge(self, channels: int) -> nn.Module:
        return Aside(nn.Upsample(scale_factor=2), nn.Conv2d(channels, channels, 3, padding=1))

    def head_norm(self, channels: int) -> nn.Module:
        return NormSilu(groups_of(channels), channels)

    def head(self, c_in: int, c_out: int) -> nn.Module:
        return zero_init(nn.Conv2d(c_in, c_out, 3, padding=1))
