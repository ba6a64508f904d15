"""Images from a folder or a zip file, labels from the names of their folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import UnidentifiedImageError
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.data.base import DataSource
from sde_diffusion.data.captions import BESIDE, captions_of
from sde_diffusion.data.files import PACKED, SUFFIXES, Members, class_folders, members, splits_in
from sde_diffusion.errors import InputError
from sde_diffusion.images.blocks import BLOCK, each, empty, release
from sde_diffusion.images.decode import Picture, decode, fit_choice, size_choice
from sde_diffusion.images.depth import dark
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.images.names import labels_of
from sde_diffusion.system.interrupts import passed_on
from sde_diffusion.system.memory import GIB, check_ratio
from sde_diffusion.system.notice import notice

# A flat picture is a thousandth of its pixels as PNG: more is packed to fill the memory.
RATIO = 1000
# Of pixels that are resized one picture after the other, and not kept.
UNPACKED = 16 * GIB
# Broken files that are named; the others are counted.
NAMED = 10
ARRAYS = {".npy", ".npz"}
STRAY = "beside the class folders"


class ImageFolder(DataSource):
    """All images below a folder or inside a zip, as ``image_folder`` reads them.

    Args:
        path: the folder or zip file.
        split: a first-level folder (``train``, say); null: all.
        size: resize to size x size; null: all images must have one size.
        grey: one channel in place of three.
        on_error: ``refuse`` a broken image, or ``skip`` it; either names it.
        classes: names of the class folders in the order of labels; null: those found, sorted.
        fit: of images that are not square, to ``size``: ``squash`` them, ``crop`` the middle, or
            ``pad`` with black.
        captions: ``txt``, for a NAME.txt beside each image, or a CSV or JSONL file of file names
            and texts; null: none.
    """

    def __init__(
        self,
        path: str,
        split: str | None = None,
        size: int | None = None,
        grey: bool = False,
        on_error: str = "refuse",
        classes: Sequence[str] | None = None,
        fit: str = "squash",
        captions: str | None = None,
    ) -> None:
        self.captions = captions
        self.path, self.split, self.size, self.grey = path, split, size, grey
        self.on_error, self.classes, self.fit = on_error, classes, fit

    def load(self) -> ImageSet:
        return image_folder(**self.fields())


def image_folder(
    path: str,
    split: str | None = None,
    size: int | None = None,
    grey: bool = False,
    on_error: str = "refuse",
    classes: Sequence[str] | None = None,
    fit: str = "squash",
    captions: str | None = None,
    key: str = "data.path",
    stored: bool = False,
) -> ImageSet:
    """All images below a folder or inside a zip, sorted by name, uint8 [N, C, H, W].

    Links are followed. An image is labelled by the first folder below ``path`` (and ``split``) that
    it lies in; ``class_folders`` has the rule. An image beside the class folders is broken.

    Args:
        path: the folder or zip file. A zip is read in memory, nothing is unpacked.
        split: only what lies below this first-level folder (``train``, say).
        size: resize to size x size with PIL's antialiased Lanczos filter; null: all images must
            have one size. A protocol for training data, not for published FID.
        grey: one channel in place of three.
        on_error: ``refuse`` a broken image, or ``skip`` it; either names it.
        classes: names of the folders that images lie in, in the order of their labels; null:
            those that are found, sorted.
        fit: of images that are not square: ``squash``, ``crop`` or ``pad``.
        captions: ``txt``, or a file, see ``captions_of``.
        key: the config key that error messages name.
        stored: one channel if all images are stored as grey.
    """
    on_error_choice(on_error)
    size_choice(size)
    fit_choice(fit, size)
    classes = class_names(classes)
    there, where = members(path, key), f"{key}={path}"
    prefix = _folder_of(split, there.names) if split else ""
    names = _below(there, prefix, where, split, path)
    folders = class_folders([name.removeprefix(prefix) for name in names])
    if classes is not None and (foreign := sorted(set(folders) - set(classes))):
        raise InputError(
            f"{where}: folders {foreign} are none of the classes {list(classes)}; give each "
            "folder in data.classes, or leave it out"
        )
    reading = Reading(where, len(names), there.stored, on_error)
    if any(folders) and not all(folders):
        names, folders = _without_stray(names, folders, reading)

    texts = () if captions is None else captions_of(captions, there, path, names)
    if captions is not None:
        _read_too(captions, there, path)

    def read(name: str) -> Picture:
        return decode(there.read(name), size, "L" if grey else "RGB", fit)

    for name in tqdm(names, desc="images", unit="image", disable=len(names) < 2000 or None):
        reading.take(name, lambda name=name: read(name))  # type: ignore[misc]
    images = reading.images()
    if stored and reading.all_grey:
        images = each(images, lambda x: x[:, :1])
    name = f"{Path(path).absolute().stem}{f'-{split}' if split else ''}"
    notes = (*reading.notes(), *_merged(names), *there.left, *dark(int(images.max())))
    sentences = tuple(texts[k] for k in reading.kept) if texts else ()
    kept = [folders[k] for k in reading.kept]
    if not all(kept):
        unlabelled = ImageSet(images, None, 0, name, notes=notes, captions=sentences)
        return _as_drawn(unlabelled, [names[k] for k in reading.kept]) if stored else unlabelled
    of_labels = sorted(set(kept)) if classes is None else list(classes)
    labels = torch.tensor([of_labels.index(folder) for folder in kept])
    return ImageSet(images, labels, len(of_labels), name, tuple(of_labels), notes, sentences)


def _as_drawn(images: ImageSet, names: Sequence[str]) -> ImageSet:
    """With the classes in the names of samples of this package, as their archive has them."""
    labels = labels_of([PurePosixPath(name).name for name in names])
    if labels is None:
        return images
    return replace(images, labels=torch.tensor(labels), classes=1 + max(labels), labels_set=True)


def class_names(classes: Sequence[object] | None) -> list[str] | None:
    """Names of class folders as they were given, whole numbers as they are written; InputError for
    no list, or a name twice."""
    if isinstance(classes, str):
        raise InputError(f"data.classes={classes}: give a list, [{classes}]")
    if classes is None:
        return None
    names = [str(name) for name in classes]
    if len(set(names)) != len(names):
        raise InputError(f"data.classes={names}: give each class once")
    return names


def _folder_of(split: str, names: Sequence[str]) -> str:
    """The folder of a split, with / at its end: in other capitals where none has the same."""
    first = sorted({name.split("/")[0] for name in names if "/" in name})
    alike = [folder for folder in first if folder.casefold() == split.casefold()]
    return f"{alike[0] if len(alike) == 1 and split not in first else split}/"


def _below(there: Members, prefix: str, where: str, split: str | None, path: str) -> list[str]:
    """Names of the images below a split; InputError if there are none."""
    names = [name for name in there.names if name.startswith(prefix)]
    if names:
        return names
    kinds = ", ".join(sorted(SUFFIXES))
    left = f" ({'; '.join(there.left)})" if there.skipped else ""
    remedy = _remedy(there, where, split, path)
    raise InputError(f"{where}: no images ({kinds}) below {prefix or 'it'}{left}; {remedy}")


def _remedy(there: Members, where: str, split: str | None, path: str) -> str:
    """What to do about a folder or zip that has no images, or none of a split."""
    if there.skipped.keys() & ARRAYS:
        archive = "" if Path(path).is_dir() else path
        if where.startswith("data."):
            return f"numpy's arrays are read by data=npz data.path={archive or 'FILE.npz'}"
        return "numpy's arrays are read one archive at a time: give one FILE.npz"
    deeper = sorted(name.split(f"/{split}/")[0] for name in there.names if f"/{split}/" in name)
    if split and deeper and not Path(path).is_dir():
        return f"unpack it, and give the folder {deeper[0]} in it, which has {split}"
    if split and deeper:
        return f"those of {deeper[0]}/{split} are read by {where}/{deeper[0]}"
    if split and (others := splits_in({name.split("/")[0] for name in there.names})):
        return f"choose {' or '.join(f'data.split={each}' for each in sorted(others))}"
    if split:
        return f"put those of the split {split} into a folder of that name"
    if packed := [kind for kind in PACKED if there.skipped[kind]]:
        return f"unpack the {packed[0]} in it, and give the folder"
    return "give a folder of files with these endings"


def _merged(names: Sequence[str]) -> list[str]:
    """A note where the images are of several splits, of which somebody held one out."""
    splits = splits_in({part for name in names for part in name.split("/")[:-1]})
    return [f"of the splits {', '.join(sorted(splits))} together"] if len(splits) > 1 else []


def _read_too(captions: str, there: Members, path: str) -> None:
    """Count the captions that lie among the data no longer as left out."""
    if captions == BESIDE:
        there.skipped.pop(".txt", None)
        return
    kind, table = PurePosixPath(captions).suffix, Path(captions).resolve()
    if there.skipped[kind] and (not table.is_file() or table.is_relative_to(Path(path).resolve())):
        there.skipped[kind] -= 1
        if not there.skipped[kind]:
            del there.skipped[kind]


def _without_stray(
    names: Sequence[str], folders: Sequence[str], reading: Reading
) -> tuple[list[str], list[str]]:
    """The images that lie in class folders; the others are skipped by name, or refused."""
    if not reading.settable:  # of a set to be judged no labels are needed
        reading.counted[f"{STRAY}, so there are no labels"] += folders.count("")
        return list(names), [""] * len(names)
    for name, folder in zip(names, folders, strict=True):
        if not folder:
            reading.broken(name, ValueError(STRAY))
    kept = [(name, folder) for name, folder in zip(names, folders, strict=True) if folder]
    return [name for name, _ in kept], [folder for _, folder in kept]


class Reading:
    """Pictures of one size as they come, in one array; the broken ones named or refused.

    Args:
        where: KEY=PATH, for messages; keys ``data.*`` have the settings that remedies name.
        n: how many there may be. stored: bytes of the files that they are in.
        on_error: refuse or skip.
    """

    def __init__(self, where: str, n: int, stored: int, on_error: str) -> None:
        self.where, self.n, self.stored, self.on_error = where, n, stored, on_error
        self.settable = where.startswith("data.")
        self.kept: list[int] = []
        self.counted: Counter[str] = Counter()
        self._first = ""
        self._tried, self._skipped, self._decoded = 0, 0, 0
        self._array: np.ndarray | None = None
        self._grey = True

    def take(self, name: str, read: Callable[[], Picture]) -> None:
        """The next picture; InputError if it is broken and to be refused, or of another size."""
        self._tried += 1
        try:
            picture = read()
        except MemoryError:
            raise InputError(
                f"{self.where}: no memory left for {name}; give fewer images"
            ) from None
        except Exception as error:  # every decoder, and every kind of archive, has its own
            passed_on(error)
            self.broken(name, error)
            return
        self._decoded += 3 * picture.decoded
        check_ratio(self._decoded, self.stored, RATIO, self.where, UNPACKED)
        array = picture.array.transpose(2, 0, 1)
        if self._array is None:
            shape = (self.n, *array.shape)
            self._array, self._first = empty(shape, self.stored, RATIO, self.where), name
        if array.shape != self._array.shape[1:]:
            raise InputError(
                f"{self.where}: images of different sizes, {self._first} {_side(self._array[0])} "
                f"and {name} {_side(array)}; "
                + ("set data.size=32, say" if self.settable else "bring them to one size")
            )
        self._array[len(self.kept)] = array
        if len(self.kept) % max(1, BLOCK // array.size) == 0:
            release(torch.from_numpy(self._array))
        self.kept.append(self._tried - 1)
        self._grey &= picture.grey
        self.counted.update(picture.notes)

    def broken(self, name: str, error: Exception) -> None:
        """Say that a picture is skipped, or refuse it."""
        why = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):  # named by an address in memory
            why = "not an image"
        if self.on_error == "refuse":
            remedy = "mend it or set data.on_error=skip" if self.settable else "mend or remove it"
            raise InputError(f"{self.where}: {name} is broken ({why}); {remedy}") from error
        self._skipped += 1
        if self._skipped <= NAMED:
            notice(f"skipped {name}: {why}")

    def images(self) -> Tensor:
        """uint8 [N, C, H, W]; InputError if there are none."""
        if self._array is None:
            raise InputError(f"{self.where}: no image is left; give some that are whole")
        return torch.from_numpy(self._array[: len(self.kept)])

    @property
    def all_grey(self) -> bool:
        """Whether all were stored as grey."""
        return self._grey

    def notes(self) -> list[str]:
        """What was done to some, and how many were skipped."""
        skipped = [f"{self._skipped} broken images skipped"] if self._skipped else []
        return skipped + [f"{n} {what}" for what, n in self.counted.items()]


def _side(array: np.ndarray) -> str:
    return f"{array.shape[1]} x {array.shape[2]}"


def on_error_choice(on_error: str) -> None:
    """InputError unless it is one of the two choices."""
    if on_error not in ("refuse", "skip"):
        raise InputError(f"data.on_error={on_error}: choose refuse or skip")
