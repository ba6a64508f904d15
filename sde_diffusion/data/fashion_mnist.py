"""Fashion-MNIST: photographs of clothes in the format of MNIST (Xiao et al., arXiv:1708.07747)."""

from __future__ import annotations

import os
from pathlib import Path

from sde_diffusion.data.base import DataSource
from sde_diffusion.data.idx import idx_set
from sde_diffusion.images.image_set import ImageSet

MIRROR = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion"


class FashionMNIST(DataSource):
    """60,000 training (``train``) or 10,000 test (``test``) images, uint8 [N, 1, 28, 28].

    Xiao et al., arXiv:1708.07747.

    Args:
        root: folder of the IDX files, which have the names of MNIST's; null: the variable
            FASHION_MNIST_ROOT, else ``data/fashion_mnist``.
        split: ``train`` or ``test``.
        download: fetch files that are missing there, after saying what and from where.
    """

    def __init__(
        self, root: str | None = None, split: str = "train", download: bool = False
    ) -> None:
        self.root, self.split, self.download = root, split, download

    def load(self) -> ImageSet:
        folder = Path(self.root or os.environ.get("FASHION_MNIST_ROOT") or "data/fashion_mnist")
        return idx_set(folder, self.split, "fashion_mnist", MIRROR if self.download else None)
