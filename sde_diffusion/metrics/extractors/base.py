"""What an extractor is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import final

import torch
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.errors import InputError
from sde_diffusion.images.blocks import blocks
from sde_diffusion.metrics.stats import checked
from sde_diffusion.system.bars import hidden
from sde_diffusion.system.identity import Component


class Extractor(Component, ABC, known_as="extractor"):
    """Images uint8 [N, C, H, W] -> features float64 [N, d], in batches.

    Attributes:
        name: what the distance is called after, FD[name]. dim: d.
        fingerprint: 16 hex digits of the SHA-256 of everything the features depend on.
        batch_size: images in memory at once; features do not depend on it.
        rows: images of a call; what a network makes of more leaves the processor's cache.
    """

    batch_size: int = 500
    rows: int = 125
    name: str
    dim: int
    fingerprint: str

    @property
    def metric(self) -> str:
        """The distance's name: FID is a name for Inception features alone."""
        return f"FD[{self.name}]"

    @abstractmethod
    def extract(self, images: Tensor) -> Tensor:
        """One call: uint8 [B, C, H, W] -> [B, d]; InputError for images of another shape."""

    @final
    def batch(self, images: Tensor) -> Tensor:
        """``extract`` of one batch, in calls of ``rows``."""
        return torch.cat([self.extract(some) for some in images.split(self.rows)])

    @final
    def stream(self, images: Tensor) -> Iterator[Tensor]:
        """Features float64 [B, d] of one batch after another, with a bar where it is long.

        InputError unless ``images`` are uint8 of the extractor's shape, or if features are not
        finite.
        """
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise InputError(
                f"images: {images.dtype} {tuple(images.shape)}; give uint8 [N, C, H, W]"
            )
        off = hidden(len(images) >= 20 * self.batch_size)
        with tqdm(total=len(images), desc="features", unit="image", disable=off) as bar:
            for part in blocks(images, self.batch_size):
                with torch.no_grad():
                    features = self.batch(part).to("cpu", torch.float64)
                yield checked(features, f"extractor={self.name}")
                bar.update(len(part))

    @final
    def __call__(self, images: Tensor) -> Tensor:
        """Features [N, d] of all images; InputError unless they are uint8 of the right shape."""
        return torch.cat(list(self.stream(images)))
