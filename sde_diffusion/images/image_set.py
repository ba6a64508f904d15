"""A set of images in memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from torch import Tensor

from sde_diffusion.errors import InputError


@dataclass(frozen=True)
class ImageSet:
    """Images uint8 [N, C, H, W], labels int64 [N] or None, and what they are called.

    Data for training may be vectors instead: ``images`` is then float32 [N, d], used as it is.
    ``class_names`` are those of labels 0, 1, ... where a data set finds them by itself.
    """

    images: Tensor
    labels: Tensor | None
    classes: int
    name: str
    class_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.images.shape[0]

    def __getitem__(self, rows: slice | Tensor) -> ImageSet:
        labels = None if self.labels is None else self.labels[rows]
        return replace(self, images=self.images[rows], labels=labels)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of shape and pixels, first 16 hex digits: a cache key that a name is not."""
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        digest.update(self.images.contiguous().numpy().data)
        return digest.hexdigest()[:16]

    def as_pictures(self) -> ImageSet:
        """Itself; InputError if it holds vectors, for which a task has no use."""
        if self.images.is_floating_point():
            raise InputError(f"data={self.name}: holds vectors; this task takes images")
        return self
