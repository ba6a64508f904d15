"""What an extractor is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor

from sde_diffusion.errors import InputError

BATCH = 500


class Extractor(ABC):
    """Images uint8 [N, C, H, W] -> features float64 [N, d], in batches.

    Attributes:
        name: what the distance is called after, FD[name]. dim: d.
        fingerprint: 16 hex digits of the SHA-256 of everything the features depend on.
    """

    name: str
    dim: int
    fingerprint: str

    @property
    def metric(self) -> str:
        """The distance's name: FID is a name for Inception features alone."""
        return f"FD[{self.name}]"

    @abstractmethod
    def extract(self, images: Tensor) -> Tensor:
        """One batch: uint8 [B, C, H, W] -> [B, d]; InputError for images of another shape."""

    @final
    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Features of all images; InputError unless they are uint8 of the extractor's shape."""
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise InputError(
                f"images: {images.dtype} {tuple(images.shape)}; give uint8 [N, C, H, W]"
            )
        return torch.cat([self.extract(part).to(torch.float64) for part in images.split(BATCH)])
