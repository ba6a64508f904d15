"""Images from a numpy archive, such as the one that ``sde-diffusion sample`` writes."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sde_diffusion.data.base import DataSource
from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet

NAMES = ("images", "samples", "arr_0")


class ImageNpz(DataSource):
    """The images of an .npz file, as ``image_npz`` reads them."""

    def __init__(self, path: str) -> None:
        self.path = path

    def load(self) -> ImageSet:
        return image_npz(self.path)


def image_npz(path: str, key: str = "data.path") -> ImageSet:
    """``images`` (or ``samples``, ``arr_0``) uint8 [N, H, W, C] or [N, H, W]; ``labels`` if any.

    Pickled objects are refused. ``key`` is the config key that error messages name.
    """
    held = arrays(path, key, (*NAMES, "labels"))
    name = next((n for n in NAMES if n in held), None)
    if name is None:
        raise InputError(f"{key}={path}: has none of the arrays {list(NAMES)}")
    array, labels = held[name], held.get("labels")
    if array.dtype != np.uint8 or array.ndim not in (3, 4) or 0 in array.shape:
        raise InputError(
            f"{key}={path}: {name} is {array.dtype} {array.shape}; give uint8 [N, H, W, C]"
        )
    images = torch.from_numpy(array if array.ndim == 4 else array[..., None])
    found, classes = label_numbers(labels, len(images), f"{key}={path}")
    return ImageSet(images.permute(0, 3, 1, 2).contiguous(), found, classes, Path(path).name)


def label_numbers(labels: np.ndarray | None, n: int, where: str) -> tuple[Tensor | None, int]:
    """Labels int64 [n] and the number of classes; InputError unless they are whole and >= 0."""
    if labels is None:
        return None, 0
    if labels.shape != (n,) or labels.dtype.kind not in "iu" or int(labels.min()) < 0:
        raise InputError(
            f"{where}: labels are {labels.dtype} {labels.shape}; give whole numbers >= 0, [{n}]"
        )
    return torch.from_numpy(labels.astype(np.int64)), int(labels.max()) + 1


def arrays(path: str, key: str, wanted: Sequence[str]) -> dict[str, np.ndarray]:
    """Those of the ``wanted`` arrays that an archive holds; pickled objects are refused."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in wanted if name in file}
    except FileNotFoundError:
        raise InputError(f"{key}={path}: no such file; give the path of an .npz archive") from None
    except (TypeError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{key}={path}: not a numpy archive of plain arrays") from error
