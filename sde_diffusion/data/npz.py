"""Images from a numpy archive, such as the one that ``sde-diffusion sample`` writes."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from torch import Tensor

from sde_diffusion.data.archive import arrays, names_of
from sde_diffusion.data.base import DataSource
from sde_diffusion.data.files import SUFFIXES
from sde_diffusion.errors import InputError
from sde_diffusion.images.blocks import blocks, each
from sde_diffusion.images.decode import SQUASHED, fit_choice, resized, size_choice
from sde_diffusion.images.depth import dark
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.system.resume import NOISE

NAMES = ("images", "samples", "arr_0")
# Where labels lie: beside arr_0, samplers write them as arr_1.
LABELS, SECOND = "labels", "arr_1"
# Published statistics of an extractor's features.
STATISTICS = ("mu", "sigma")
MOST_CLASSES = 100_000
# An archive with these is one of this package's own: its labels were set, and its other arrays are
# none.
OURS = {"seeds", NOISE}
LARGER = 64  # times the pixels that there were, of what images are resized to
SHOWN = 10  # names that a note lists
MOST_CHANNELS = 4
# How far pictures of -1 .. 1, or 0 .. 1, and of 0 .. 255 overshoot; of those of mean 0 and standard
# deviation 1, how far they reach.
ABOVE_ONE, OVERSHOT, MOST_STANDARD = 1.6, 383, 16


class ImageNpz(DataSource):
    """The images of an .npz file, as ``image_npz`` reads them.

    Args:
        path: of the .npz: one array of images uint8, and ``labels`` if there are any.
        size: resize to size x size; null: as they are.
        fit: of images that are not square, to ``size``: ``squash`` them, ``crop`` the middle, or
            ``pad`` with black.
    """

    def __init__(self, path: str, size: int | None = None, fit: str = "squash") -> None:
        size_choice(size)
        fit_choice(fit, size)
        self.path, self.size, self.fit = path, size, fit

    def load(self) -> ImageSet:
        data = image_npz(self.path)
        if self.size is None:
            return data
        size, fit = self.size, self.fit
        small = each(
            data.images,
            lambda x: torch.from_numpy(resized(x.numpy(), size, fit)),
            bound=(data.images.numel(), LARGER, f"data.size={size}"),
        )
        height, width = data.images.shape[2:]
        squashed = (SQUASHED,) if height != width and fit == "squash" else ()
        return replace(data, images=small, notes=(*data.notes, *squashed))


def image_npz(path: str, key: str = "data.path") -> ImageSet:
    """``images`` (or ``samples``, ``arr_0``) uint8 [N, H, W, C] or [N, H, W]; ``labels`` if any.

    Beside ``arr_0``, whole numbers [N] named ``arr_1`` are the labels. Pickled objects are refused.
    A note names the arrays that are not read. ``key`` is the config key that error messages name.
    """
    where = f"{key}={path}"
    held = arrays(path, key, (*NAMES, LABELS))
    name = next((n for n in NAMES if n in held), None)
    if name is None:
        raise InputError(_without_images(path, key))
    images = _images(held[name], f"{where}: {name}")
    labels, notes = held.get(LABELS), []
    if name == "arr_0" and labels is None and SECOND in names_of(path, key):
        second = arrays(path, key, (SECOND,))[SECOND]
        if second.shape == (len(images),) and second.dtype.kind in "iu":
            labels = second
        else:
            notes.append(f"{SECOND}, {second.dtype} {second.shape}, is not read as labels")
    read = {name, SECOND} if name == "arr_0" else {name, LABELS}
    names = set(names_of(path, key))
    ours = names >= OURS
    if not ours and max(int(part.max()) for part in blocks(images)) == 1:
        raise InputError(f"{where}: {name} is uint8 from 0 to 1, all black; give array * 255")
    if (left := sorted(names - read)) and not ours:
        hint = "" if labels is not None else f"; labels are read by the name {LABELS}"
        notes.append(f"not read: {', '.join(left[:SHOWN])}{hint}")
    numbers, classes = label_numbers(labels, len(images), where)
    chosen = ours and numbers is not None
    if numbers is not None and not chosen and (empty := classes - len(numbers.unique())):
        notes.append(f"{empty} of the classes without an image")
    notes += dark(int(images.max()))
    name = Path(path).name
    return ImageSet(images, numbers, classes, name, notes=tuple(notes), labels_set=chosen)


def _images(array: np.ndarray, where: str) -> Tensor:
    """uint8 [N, C, H, W] of uint8 [N, H, W, C] or [N, H, W]; InputError for all else, by name."""
    shape = array.shape
    if len(shape) == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3):
        raise InputError(
            f"{where} is {shape}, channels first; give channels last, array.transpose(0, 2, 3, 1)"
        )
    if len(shape) == 4 and shape[3] > MOST_CHANNELS:
        axes = "0, 2, 3, 1" if shape[1] <= MOST_CHANNELS else "3, 0, 1, 2"
        last = min(shape[1:3]) <= MOST_CHANNELS
        remedy = f", array.transpose({axes})" if last else " of 1 to 4 channels"
        raise InputError(f"{where} is {shape}, {shape[3]} channels; give [N, H, W, C]{remedy}")
    if len(shape) == 3 and shape[2] in (1, 3) and shape[0] not in (1, 3):
        raise InputError(f"{where} is {shape}, one image it seems; give [N, H, W, C], array[None]")
    if array.dtype.kind in "fiu" and array.dtype != np.uint8 and array.size:
        with np.errstate(all="ignore"):
            low, high = float(array.min()), float(array.max())
        raise InputError(
            f"{where} is {array.dtype} {shape} from {low:.4g} to {high:.4g}; give uint8, "
            f"{_as_uint8(low, high, array.dtype.kind)}"
        )
    if array.dtype == np.bool_:
        raise InputError(f"{where} is bool {shape}; give uint8, array.astype('uint8') * 255")
    if array.dtype != np.uint8 or len(shape) not in (3, 4) or 0 in shape:
        raise InputError(f"{where} is {array.dtype} {shape}; give uint8 [N, H, W, C]")
    images = torch.from_numpy(array if array.ndim == 4 else array[..., None])
    first = images.permute(0, 3, 1, 2)
    return first if first.is_contiguous() else each(images, lambda x: x.permute(0, 3, 1, 2))


def _as_uint8(low: float, high: float, kind: str) -> str:
    """What makes grey levels of values in that range."""
    if not math.isfinite(low) or not math.isfinite(high):  # NaN too
        return "and finite values"
    if low < 0:
        return _of_both_signs(low, high, kind)
    if high <= ABOVE_ONE:
        return "(array.clip(0, 1) * 255).round().astype('uint8')"
    if high <= 2:  # 1 + x
        return "(array * 127.5).round().astype('uint8')"
    if MOST_STANDARD < high <= OVERSHOT:
        return "array.clip(0, 255).round().astype('uint8')"
    # Of 10 to 32 bits, which cutting off at 255 would make white.
    white = next((2**b - 1 for b in (10, 12, 16, 32) if OVERSHOT < high < 2**b), f"{high:.6g}")
    return f"(array / {white} * 255).round().astype('uint8')"


def _of_both_signs(low: float, high: float, kind: str) -> str:
    if low >= -ABOVE_ONE and high <= ABOVE_ONE:
        return "((array.clip(-1, 1) + 1) * 127.5).round().astype('uint8')"
    if kind == "i" and low >= -128 and high <= 127:
        return "(array.astype('int16') + 128).clip(0, 255).astype('uint8')"
    if kind == "f" and low >= -MOST_STANDARD and high <= MOST_STANDARD:
        return "of array * std + mean, where they were divided by a standard deviation"
    return f"((array - {low:.6g}) / {high - low:.6g} * 255).round().astype('uint8')"


def _as_labels(labels: np.ndarray, n: int) -> str:
    """What makes labels of such an array; empty where nothing is sure to."""
    if labels.shape == (n, 1) and labels.dtype.kind in "iu":
        return ", labels[:, 0]"
    one_hot = labels.ndim == 2 and len(labels) == n and bool(np.isin(labels, (0, 1)).all())
    if one_hot and bool((labels.sum(1) == 1).all()):
        return ", labels.argmax(1)"
    if labels.shape == (n,) and labels.dtype.kind in "fb" and bool((labels % 1 == 0).all()):
        return ", labels.astype('int64')"
    if labels.shape == (n,) and labels.dtype.kind in "US":
        return ", numpy.unique(labels, return_inverse=True)[1]"
    return ""


def _from(labels: np.ndarray) -> str:
    """The least of labels, if it is negative."""
    negative = labels.dtype.kind == "i" and labels.size and int(labels.min()) < 0
    return f" from {int(labels.min())}" if negative else ""


def _without_images(path: str, key: str) -> str:
    names = names_of(path, key)
    if set(STATISTICS) <= set(names):
        return (
            f"{key}={path}: holds statistics (mu, sigma) and no images; give it as reference=, "
            "with the extractor that they are of"
        )
    if any(PurePosixPath(name).suffix.lower() in SUFFIXES for name in names):
        remedy = "read them by data=folder" if key.startswith("data.") else "call it .zip"
        return f"{key}={path}: holds pictures, no arrays; {remedy}"
    return f"{key}={path}: has none of the arrays {list(NAMES)}, but {names[:10]}; rename one"


def label_numbers(labels: np.ndarray | None, n: int, where: str) -> tuple[Tensor | None, int]:
    """Labels int64 [n] and the number of classes; InputError unless they are whole and >= 0."""
    if labels is None:
        return None, 0
    if labels.shape != (n,) or labels.dtype.kind not in "iu" or int(labels.min()) < 0:
        raise InputError(
            f"{where}: labels are {labels.dtype} {labels.shape}{_from(labels)}; give whole numbers "
            f">= 0, [{n}]"
            f"{_as_labels(labels, n)}"
        )
    if (most := int(labels.max())) >= MOST_CLASSES:
        raise InputError(
            f"{where}: a label is {most}; number the classes from 0, at most {MOST_CLASSES}"
        )
    return torch.from_numpy(labels.astype(np.int64)), most + 1
