"""CIFAR-10 as image files: SPLIT/CLASS/NAME in a zip or a folder (Krizhevsky 2009)."""

from __future__ import annotations

import os

from sde_diffusion.data.base import DataSource
from sde_diffusion.data.folder import image_folder
from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class CIFAR10(DataSource):
    """Colour images uint8 [N, 3, 32, 32] of ten classes: ``train/CLASS/*`` or ``test/CLASS/*``.

    Stored as JPEG, as in ``cifar10-jpeg.zip``, they are not the published pixels: distances made
    on them compare among themselves alone.

    Args:
        root: the zip, or a folder; null: the variable CIFAR10_ROOT, else
            ``data/cifar10-jpeg.zip``.
        split: ``train`` or ``test``.
        on_error: ``refuse`` a broken image, or ``skip`` it; either names it.
    """

    def __init__(
        self, root: str | None = None, split: str = "train", on_error: str = "refuse"
    ) -> None:
        if split not in ("train", "test"):
            raise InputError(f"data.split={split}: choose train or test")
        self.root, self.split, self.on_error = root, split, on_error

    def load(self) -> ImageSet:
        path = self.root or os.environ.get("CIFAR10_ROOT") or "data/cifar10-jpeg.zip"
        images = image_folder(
            path, self.split, on_error=self.on_error, classes=CLASSES, key="data.root"
        )
        if images.images.shape[1:] != (3, 32, 32):
            raise InputError(
                f"data.root={path}: images of {tuple(images.images.shape[1:])}, not (3, 32, 32)"
            )
        return images
