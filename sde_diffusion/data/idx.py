"""Grey images of ten classes in IDX files, the format of MNIST (LeCun et al. 1998)."""

from __future__ import annotations

import gzip
import math
import urllib.request
import zlib
from pathlib import Path

import numpy as np
import torch

from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.system.storage import write_atomically

MAX_BYTES = 64 * 2**20


def read_idx(path: Path) -> np.ndarray:
    """One IDX file of unsigned bytes, gzipped or not."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            content = file.read(MAX_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"data.root: {path} is broken ({error}); fetch it again") from error
    if content[:3] != b"\x00\x00\x08":
        raise InputError(f"data.root: {path} is not an IDX file of bytes; fetch it again")
    ndim = int.from_bytes(content[3:4])
    start = 4 + 4 * ndim
    sizes = np.frombuffer(content[4:start].ljust(4 * ndim, b"\xff"), ">i4")
    # As Python's numbers: products of large ones do not wrap around.
    if min(sizes.tolist(), default=0) < 0 or len(content) - start != math.prod(sizes.tolist()):
        raise InputError(f"data.root: {path} is truncated; fetch it again")
    return np.frombuffer(content, np.uint8, offset=start).reshape(sizes)


def idx_set(folder: Path, split: str, name: str, mirror: str | None) -> ImageSet:
    """60,000 training or 10,000 test images uint8 [N, 1, 28, 28] with labels 0 .. 9.

    Args:
        folder: holds ``train-images-idx3-ubyte(.gz)``, ``t10k-labels-idx1-ubyte(.gz)`` and so on.
        split: ``train`` or ``test``.
        name: of the data set, in messages too.
        mirror: where missing files are fetched from; None: they are not.
    """
    prefix = {"train": "train", "test": "t10k"}.get(split)
    if prefix is None:
        raise InputError(f"data.split={split}: choose train or test")
    pixels = read_idx(_find(folder, f"{prefix}-images-idx3", name, mirror))
    classes = read_idx(_find(folder, f"{prefix}-labels-idx1", name, mirror))
    count = {"train": 60000, "test": 10000}[split]
    if pixels.shape != (count, 28, 28) or classes.shape != (count,):
        raise InputError(
            f"data.root={folder}: {pixels.shape} is not {name}'s {(count, 28, 28)}; fetch it again"
        )
    if classes.max() >= 10:
        raise InputError(
            f"data.root={folder}: a label of {name} is {classes.max()}, its classes are 0 .. 9; "
            "fetch it again"
        )
    images = torch.from_numpy(pixels.copy())[:, None]
    return ImageSet(images, torch.from_numpy(classes.astype(np.int64)), 10, f"{name}-{split}")


def _find(folder: Path, stem: str, name: str, mirror: str | None) -> Path:
    for file_name in (f"{stem}-ubyte", f"{stem}-ubyte.gz"):
        if (folder / file_name).is_file():
            return folder / file_name
    if mirror is None:
        raise InputError(
            f"data.root={folder}: no {stem}-ubyte(.gz) there; give the folder of {name} with "
            "data.root=, or fetch it with data.download=true"
        )
    url = f"{mirror}/{stem}-ubyte.gz"
    print(f"{name}: fetching {url} to {folder}")
    try:
        with urllib.request.urlopen(url, timeout=60) as reply:
            content = reply.read(MAX_BYTES)
    except OSError as error:
        raise InputError(f"data.download: {url}: {error}; set data.root= to your copy") from error
    write_atomically(folder / f"{stem}-ubyte.gz", content)
    return folder / f"{stem}-ubyte.gz"
