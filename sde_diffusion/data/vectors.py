"""Vectors from a numpy archive, for network=mlp."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from sde_diffusion.data.archive import arrays
from sde_diffusion.data.base import DataSource
from sde_diffusion.data.npz import label_numbers
from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet


class Vectors(DataSource):
    """Float vectors [N, d] of an .npz, with ``labels`` [N] if it holds any; as they are.

    A network expects a root mean square about ``parameterization.sigma_data``.

    Args:
        path: of the .npz. array: the name of the vectors in it.
    """

    def __init__(self, path: str, array: str = "x") -> None:
        self.path, self.array = path, array

    def load(self) -> ImageSet:
        where = f"data.path={self.path}"
        held = arrays(self.path, "data.path", (self.array, "labels"))
        if self.array not in held:
            raise InputError(f"data.array={self.array}: {self.path} holds no array of that name")
        x = held[self.array]
        if x.ndim != 2 or not np.issubdtype(x.dtype, np.floating) or 0 in x.shape:
            raise InputError(f"{where}: {self.array} is {x.dtype} {x.shape}; give floats [N, d]")
        with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite
            x = x.astype(np.float32)
        if not bool(np.isfinite(x).all()):
            raise InputError(f"{where}: not all values of {self.array} are finite in float32")
        labels, classes = label_numbers(held.get("labels"), len(x), where)
        return ImageSet(torch.from_numpy(x), labels, classes, Path(self.path).name)
