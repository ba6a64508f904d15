"""MNIST digits from IDX files (LeCun et al. 1998)."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import torch

from sde_diffusion.data.images import ImageSet
from sde_diffusion.errors import InputError


def read_idx(path: Path) -> np.ndarray:
    """One IDX file of unsigned bytes, gzipped or not."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        content = file.read()
    if content[:3] != b"\x00\x00\x08":
        raise InputError(f"data.root: {path} is not an IDX file of bytes")
    ndim = content[3]
    shape = np.frombuffer(content, ">i4", ndim, 4)
    pixels = np.frombuffer(content, np.uint8, offset=4 + 4 * ndim)
    if pixels.size != shape.prod():
        raise InputError(f"data.root: {path} is truncated")
    return pixels.reshape(shape)


def mnist(root: str, split: str = "train") -> ImageSet:
    """60,000 training (``train``) or 10,000 test (``test``) digits, uint8 [N, 1, 28, 28]."""
    prefix = {"train": "train", "test": "t10k"}.get(split)
    if prefix is None:
        raise InputError(f"data.split={split}: choose train or test")

    def find(stem: str) -> Path:
        for name in (f"{stem}-ubyte", f"{stem}-ubyte.gz", f"{stem}.ubyte".replace("-idx", ".idx")):
            if (Path(root) / name).is_file():
                return Path(root) / name
        raise InputError(f"data.root={root}: no {stem}-ubyte(.gz) there; give the folder of MNIST")

    images = torch.from_numpy(read_idx(find(f"{prefix}-images-idx3")).copy())
    labels = torch.from_numpy(read_idx(find(f"{prefix}-labels-idx1")).astype(np.int64))
    return ImageSet(images[:, None], labels, classes=10, name=f"mnist-{split}")
