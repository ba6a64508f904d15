"""Vectors from a numpy archive, for network=mlp."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from sde_diffusion.data.npz import arrays, label_numbers
from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet


def vectors(path: str, array: str = "x") -> ImageSet:
    """Float vectors [N, d] of an .npz, with ``labels`` [N] if it holds any; as they are.

    A network expects a root mean square about ``denoiser.args.sigma_data``.
    """
    found = arrays(path, "data.path", (array, "labels"))
    if array not in found:
        raise InputError(f"data.array={array}: {path} holds no array of that name")
    x = found[array]
    if x.ndim != 2 or not np.issubdtype(x.dtype, np.floating) or 0 in x.shape:
        raise InputError(f"data.path={path}: {array} is {x.dtype} {x.shape}; give floats [N, d]")
    with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite
        x = x.astype(np.float32)
    if not bool(np.isfinite(x).all()):
        raise InputError(f"data.path={path}: not all values of {array} are finite in float32")
    labels, classes = label_numbers(found.get("labels"), len(x), f"data.path={path}")
    return ImageSet(torch.from_numpy(x), labels, classes, Path(path).name)
