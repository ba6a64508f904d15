"""What a network is told beside the image: noise level, class and augmentation labels."""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sde_diffusion.conditions.condition import AUGMENT, LABEL, Condition
from sde_diffusion.networks.registry import Network


class NoiseFeatures(nn.Module):
    """cos(w c_noise) and sin(w c_noise) for fixed frequencies w [K]: [N] -> [N, 2K].

    The frequencies are computed on the CPU on every device: the same numbers everywhere.
    """

    frequencies: Tensor

    def __init__(self, frequencies: Tensor) -> None:
        super().__init__()
        self.width = 2 * len(frequencies)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, c_noise: Tensor) -> Tensor:
        angles = c_noise[:, None] * self.frequencies.to(c_noise.dtype)
        return torch.cat([angles.cos(), angles.sin()], dim=1)


def positional(count: int = 64) -> NoiseFeatures:
    """Frequencies 1 .. 100, equal in the logarithm (Vaswani et al. 2017), for |c_noise| < 2."""
    return NoiseFeatures(torch.exp(torch.linspace(0.0, math.log(100.0), count, device="cpu")))


def fourier(scale: float, count: int = 128) -> NoiseFeatures:
    """Frequencies 2 pi |z|, z ~ N(0, scale^2) (Song et al., arXiv:2011.13456).

    Of z the K equiprobable quantiles are taken, not K draws: the same law, and nothing to store.
    """
    p = (torch.arange(count, dtype=torch.float64, device="cpu") + 0.5) / count
    return NoiseFeatures((2 * math.pi * scale * torch.special.ndtri(0.5 + 0.5 * p)).float())


def noise_mlp(features: int, width: int) -> nn.Module:
    """Two linear layers."""
    return nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width))


@dataclass(frozen=True)
class EmbeddingLayers:
    """What an embedding of width E is made of.

    Attributes:
        noise: (F, E) -> a layer from noise features [N, F] to [N, E].
        table: (classes, E) -> one from labels int64 [N] to [N, E].
        labels: (K, E) -> one from augmentation labels [N, K] to [N, E], 0 for zeros.
        merge: of noise level and class, [N, E] each.
        activation: silu, scaled as it may be.
    """

    noise: Callable[[int, int], nn.Module]
    table: Callable[[int, int], nn.Module]
    labels: Callable[[int, int], nn.Module]
    merge: Callable[[Tensor, Tensor], Tensor]
    activation: Callable[[Tensor], Tensor]


PLAIN = EmbeddingLayers(
    noise_mlp, nn.Embedding, partial(nn.Linear, bias=False), merge=torch.add, activation=F.silu
)


class Embedded(Network, ABC):
    """A network with an embedding [N, E] of noise level, class label and augmentation labels.

    Args:
        embedding: its width E. features: of the noise level.
        classes: number of class labels, 0 for none.
        augment: number of augmentation labels a row, 0 for none.
        layers: what it is made of.
    """

    def __init__(
        self,
        embedding: int,
        features: NoiseFeatures,
        classes: int,
        augment: int,
        layers: EmbeddingLayers = PLAIN,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.features = features
        self.embed_noise = layers.noise(features.width, embedding)
        self.embed_class = layers.table(classes, embedding) if classes else None
        self.embed_augment = layers.labels(augment, embedding) if augment else None
        self.merge, self.activation = layers.merge, layers.activation

    def embed(
        self, x: Tensor, c_noise: Tensor, cond: Condition | None, pooled: Tensor | None = None
    ) -> Tensor:
        """c_noise [N] -> [N, E], past its activation, in the dtype of x.

        ``pooled`` [N, E], what side inputs come to, is added.
        A dropped class adds nothing, exactly as no condition at all. The part ``augment`` [N, K]
        says what was done to the image, and is never dropped.
        """
        parts = {} if cond is None else cond.parts
        emb = self.embed_noise(self.features(c_noise.to(x.dtype)))
        if self.embed_class is not None:
            if LABEL in parts:
                label = parts[LABEL]
                of_class = self.embed_class(label.value) * label.keep[:, None]
            else:
                of_class = torch.zeros_like(emb)
            emb = self.merge(emb, of_class)
        if self.embed_augment is not None and AUGMENT in parts:
            emb = emb + self.embed_augment(parts[AUGMENT].value.to(x.dtype))
        if pooled is not None:
            emb = emb + pooled.to(emb.dtype)
        return self.activation(emb)
