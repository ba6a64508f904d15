"""MNIST digits from IDX files (LeCun et al. 1998)."""

from __future__ import annotations

import gzip
import os
import urllib.request
from pathlib import Path

import numpy as np
import torch

from sde_diffusion.data.images import ImageSet
from sde_diffusion.errors import InputError
from sde_diffusion.files import write_atomically

MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist"
MAX_BYTES = 64 * 2**20


def read_idx(path: Path) -> np.ndarray:
    """One IDX file of unsigned bytes, gzipped or not."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            content = file.read(MAX_BYTES)
    except (OSError, EOFError) as error:
        raise InputError(f"data.root: {path} is broken ({error})") from error
    if content[:3] != b"\x00\x00\x08":
        raise InputError(f"data.root: {path} is not an IDX file of bytes")
    ndim = content[3]
    shape = np.frombuffer(content, ">i4", ndim, 4)
    pixels = np.frombuffer(content, np.uint8, offset=4 + 4 * ndim)
    if pixels.size != shape.prod():
        raise InputError(f"data.root: {path} is truncated")
    return pixels.reshape(shape)


def mnist(root: str | None = None, split: str = "train", download: bool = False) -> ImageSet:
    """60,000 training (``train``) or 10,000 test (``test``) digits, uint8 [N, 1, 28, 28].

    Args:
        root: folder of the IDX files; null: the variable MNIST_ROOT, else ``data/mnist``.
        split: ``train`` or ``test``.
        download: fetch files that are missing there, after saying what and from where.
    """
    prefix = {"train": "train", "test": "t10k"}.get(split)
    if prefix is None:
        raise InputError(f"data.split={split}: choose train or test")
    folder = Path(root or os.environ.get("MNIST_ROOT") or "data/mnist")
    pixels = read_idx(_find(folder, f"{prefix}-images-idx3", download))
    classes = read_idx(_find(folder, f"{prefix}-labels-idx1", download))
    count = {"train": 60000, "test": 10000}[split]
    if pixels.shape != (count, 28, 28) or classes.shape != (count,):
        raise InputError(f"data.root={folder}: {pixels.shape} is not MNIST's {(count, 28, 28)}")
    images = torch.from_numpy(pixels.copy())[:, None]
    return ImageSet(images, torch.from_numpy(classes.astype(np.int64)), 10, f"mnist-{split}")


def _find(folder: Path, stem: str, download: bool) -> Path:
    for name in (f"{stem}-ubyte", f"{stem}-ubyte.gz"):
        if (folder / name).is_file():
            return folder / name
    if not download:
        raise InputError(
            f"data.root={folder}: no {stem}-ubyte(.gz) there; give the folder of MNIST with "
            "data.root=, or fetch it with data.download=true"
        )
    url = f"{MIRROR}/{stem}-ubyte.gz"
    print(f"MNIST: fetching {url} to {folder}")
    try:
        with urllib.request.urlopen(url, timeout=60) as reply:
            content = reply.read(MAX_BYTES)
    except OSError as error:
        raise InputError(f"data.download: {url}: {error}; set data.root= to your copy") from error
    write_atomically(folder / f"{stem}-ubyte.gz", content)
    return folder / f"{stem}-ubyte.gz"
