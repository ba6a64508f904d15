"""MNIST digits (LeCun et al. 1998)."""

from __future__ import annotations

import os
from pathlib import Path

from sde_diffusion.data.idx import idx_set
from sde_diffusion.images.image_set import ImageSet

MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist"


def mnist(root: str | None = None, split: str = "train", download: bool = False) -> ImageSet:
    """60,000 training (``train``) or 10,000 test (``test``) digits, uint8 [N, 1, 28, 28].

    Args:
        root: folder of the IDX files; null: the variable MNIST_ROOT, else ``data/mnist``.
        split: ``train`` or ``test``.
        download: fetch files that are missing there, after saying what and from where.
    """
    folder = Path(root or os.environ.get("MNIST_ROOT") or "data/mnist")
    return idx_set(folder, split, "mnist", MIRROR if download else None)
