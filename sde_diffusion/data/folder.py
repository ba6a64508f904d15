"""Images from a folder or a zip file, labels from the names of their folders."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.data.base import DataSource
from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}
MAX_BYTES = 64 * 2**20
MAX_PIXELS = 64 * 2**20
MAX_SIZE = 4096
# Pillow's modes of 16 and 32 bits, which it would clip at 255: all white.
DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")


class ImageFolder(DataSource):
    """All images below a folder or inside a zip, as ``image_folder`` reads them.

    Args:
        path: the folder or zip file.
        split: a first-level folder (``train``, say); null: all.
        size: resize to size x size; null: all images must have one size.
        grey: one channel in place of three.
        on_error: ``refuse`` a broken image, or ``skip`` it; either names it.
        classes: names of the class folders in the order of labels; null: those found, sorted.
    """

    def __init__(
        self,
        path: str,
        split: str | None = None,
        size: int | None = None,
        grey: bool = False,
        on_error: str = "refuse",
        classes: Sequence[str] | None = None,
    ) -> None:
        self.path, self.split, self.size, self.grey = path, split, size, grey
        self.on_error, self.classes = on_error, classes

    def load(self) -> ImageSet:
        return image_folder(**self.fields())


def image_folder(
    path: str,
    split: str | None = None,
    size: int | None = None,
    grey: bool = False,
    on_error: str = "refuse",
    classes: Sequence[str] | None = None,
    key: str = "data.path",
) -> ImageSet:
    """All images below a folder or inside a zip, sorted by name, uint8 [N, C, H, W].

    Args:
        path: the folder or zip file. A zip is read in memory, nothing is unpacked.
        split: only what lies below this first-level folder (``train``, say).
        size: resize to size x size with PIL's antialiased Lanczos filter; null: all images must
            have one size. A protocol for training data, not for published FID.
        grey: one channel in place of three.
        on_error: ``refuse`` a broken image, or ``skip`` it; either names it.
        classes: names of the folders that images lie in, in the order of their labels; null:
            those that are found, sorted.
        key: the config key that error messages name.
    """
    on_error_choice(on_error)
    size_choice(size)
    if classes is not None and len(set(classes)) != len(classes):
        raise InputError(f"data.classes={list(classes)}: give each class once")
    members, read = _members(path, key)
    prefix = f"{split}/" if split else ""
    names = sorted(n for n in members if n.startswith(prefix))
    if not names:
        kinds = ", ".join(sorted(SUFFIXES))
        raise InputError(
            f"{key}={path}: no images ({kinds}) below {prefix or 'it'}"
            + (f"; put those of the split {split} into a folder of that name" if split else "")
        )
    arrays, kept = [], []
    for name in tqdm(names, desc="images", unit="image", disable=len(names) < 2000 or None):
        try:
            arrays.append(_decode(read(name), size, "L" if grey else "RGB"))
            kept.append(name)
        except Exception as error:  # every decoder, and every kind of archive, has its own
            broken(f"{key}={path}", name, error, on_error)
    images = stacked(arrays, f"{key}={path}")
    folders = [PurePosixPath(name.removeprefix(prefix)).parent.name for name in kept]
    known = sorted(set(folders)) if classes is None else list(classes)
    if classes is not None and (foreign := sorted(set(folders) - set(known))):
        raise InputError(f"{key}={path}: folders {foreign} are none of the classes {known}")
    labels = torch.tensor([known.index(f) for f in folders]) if all(folders) else None
    name = f"{Path(path).stem}{f'-{split}' if split else ''}"
    return (
        ImageSet(images, None, 0, name)
        if labels is None
        else ImageSet(images, labels, len(known), name, tuple(known))
    )


def _members(path: str, key: str) -> tuple[list[str], Callable[[str], bytes]]:
    """Names of the images below ``path``, with / between, and how to read one."""
    root = Path(path)
    if root.is_dir():
        files = [f.relative_to(root).as_posix() for f in root.rglob("*") if f.is_file()]
        return [f for f in files if _is_image(f)], lambda name: (root / name).read_bytes()
    if not root.is_file():
        raise InputError(f"{key}={path}: no such folder or file")
    try:
        archive = zipfile.ZipFile(root)
    except zipfile.BadZipFile as error:
        raise InputError(f"{key}={path}: neither a folder nor a zip file") from error
    sizes = {info.filename: info.file_size for info in archive.infolist()}

    def read(name: str) -> bytes:
        if sizes[name] > MAX_BYTES:
            raise ValueError(f"{sizes[name]} bytes unpacked, more than {MAX_BYTES}")
        with archive.open(name) as member:
            # A header may lie about the size: never read more than the cap.
            content = member.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes unpacked")
        return content

    return [n for n in sizes if _is_image(n)], read


def _is_image(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden


def _decode(content: bytes, size: int | None, mode: str) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return pixels(image, size, mode)


def pixels(image: Image.Image, size: int | None, mode: str) -> np.ndarray:
    """uint8 [H, W, C] of a picture, resized to size x size unless that is None."""
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"{image.width} x {image.height} pixels, more than {MAX_PIXELS}")
    if image.mode in DEEP:
        raise ValueError(f"{image.mode}: more than 8 bits a channel; convert it to 8")
    picture = image.convert(mode)
    if size is not None:
        picture = picture.resize((size, size), Image.Resampling.LANCZOS)
    array = np.asarray(picture)
    return array if array.ndim == 3 else array[..., None]


def on_error_choice(on_error: str) -> None:
    """InputError unless it is one of the two choices."""
    if on_error not in ("refuse", "skip"):
        raise InputError(f"data.on_error={on_error}: choose refuse or skip")


def size_choice(size: int | None) -> None:
    """InputError unless it is a side that images may be resized to, or None."""
    if size is not None and not 1 <= size <= MAX_SIZE:
        raise InputError(f"data.size={size}: give 1 to {MAX_SIZE}, or null")


def broken(where: str, name: str, error: Exception, on_error: str) -> None:
    """Say that image ``name`` of ``where`` is skipped, or refuse it."""
    # Pillow names what it cannot identify by its address in memory.
    why = (
        "not an image"
        if isinstance(error, UnidentifiedImageError)
        else " ".join(str(error).split())
    )
    if on_error == "refuse":
        raise InputError(
            f"{where}: {name} is broken ({why}); mend it or set data.on_error=skip"
        ) from error
    tqdm.write(f"skipped {name}: {why}")


def stacked(arrays: Sequence[np.ndarray], where: str) -> Tensor:
    """Arrays [H, W, C] as images [N, C, H, W]; InputError unless all have one size."""
    shapes = {array.shape for array in arrays}
    if len(shapes) != 1:
        raise InputError(
            f"{where}: images of {len(shapes)} different sizes; set data.size=32, say"
            if shapes
            else f"{where}: no image is left"
        )
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()
