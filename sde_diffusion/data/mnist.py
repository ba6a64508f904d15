"""MNIST digits (LeCun et al. 1998)."""

from __future__ import annotations

import os
from pathlib import Path

from sde_diffusion.data.base import DataSource
from sde_diffusion.data.idx import idx_set
from sde_diffusion.images.image_set import ImageSet

MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist"


class MNIST(DataSource):
    """60,000 training (``train``) or 10,000 test (``test``) digits, uint8 [N, 1, 28, 28].

    Args:
        root: folder of the IDX files; null: the variable MNIST_ROOT, else ``data/mnist``.
        split: ``train`` or ``test``.
        download: fetch files that are missing there, after saying what and from where.
    """

    def __init__(
        self, root: str | None = None, split: str = "train", download: bool = False
    ) -> None:
        self.root, self.split, self.download = root, split, download

    def load(self) -> ImageSet:
        folder = Path(self.root or os.environ.get("MNIST_ROOT") or "data/mnist")
        return idx_set(folder, self.split, "mnist", MIRROR if self.download else None)
