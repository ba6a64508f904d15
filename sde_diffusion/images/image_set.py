"""A set of images in memory, and the one place where pixels change between uint8 and float."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sde_diffusion.errors import DivergedError, InputError


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


def to_float(images: Tensor) -> Tensor:
    """uint8 0 .. 255 -> float32 -1 .. 1; vectors, which are floats, as they are."""
    if images.is_floating_point():
        return images
    return images.to(torch.float32) / 127.5 - 1


def to_uint8(x: Tensor) -> Tensor:
    """Float -1 .. 1 -> uint8, clipped, then rounded to nearest (never truncated).

    DivergedError for values that are no numbers: as pixels they would be black, and count as such.
    """
    missing = x.isnan()
    if bool(missing.any()):
        wrong = int(missing.reshape(len(x), -1).any(1).sum())
        raise DivergedError(
            f"samples: {wrong} of {len(x)} hold values that are no numbers; the solver diverged: "
            "give a larger nfe or another grid, or check the model"
        )
    return ((x.to(torch.float64).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
