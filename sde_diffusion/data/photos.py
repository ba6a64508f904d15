"""Pictures to be edited: one file or a folder of them, masks that go with them, measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from torch import Tensor

from sde_diffusion.data.files import MAX_BYTES, members
from sde_diffusion.errors import InputError
from sde_diffusion.images.decode import CLEAR, FITS
from sde_diffusion.images.dicom import dicom, is_dicom
from sde_diffusion.images.photo import Photo, photo
from sde_diffusion.system.interrupts import passed_on
from sde_diffusion.system.notice import notice
from sde_diffusion.system.spelling import none_of

ARRAYS = (".npy",)
# Endings of scans; many have none, and one file beside them lists the others.
SCANS, LIST = {".dcm", ".dicom", ".ima", ""}, "DICOMDIR"
HALF = 0.5  # of white: a mask is drawn anew above it


def photos(
    path: str, key: str, channels: int | None, size: int | None = None, fit: str = "squash"
) -> dict[str, Photo]:
    """The pictures of a file, or of a folder or zip, by name without ending.

    Args:
        key: the config key that messages name. channels: of the model; None: their own.
        size, fit: to what, and how, each is resized; None: as it is.
    """
    read: dict[str, Photo] = {}
    contents = _contents(path, key)
    above = _above(list(contents))
    for name, content in contents.items():
        where = f"{key}={path}" + (f": {name}" if _is_set(path) else "")
        try:
            one = _read(name, content, size, fit)
            one = one if channels is None else one.in_channels(channels)
        except InputError:
            raise
        except Exception as error:  # every decoder has its own
            why = " ".join(str(error).split()) or type(error).__name__
            remedy = "" if ";" in why else "; save it anew, as PNG say"
            raise InputError(f"{where}: {why}{remedy}") from error
        stem = "-".join(PurePosixPath(name).with_suffix("").parts[above:])
        if stem in read:
            raise InputError(f"{where}: two pictures are called {stem}; rename one of them")
        for note in one.notes:
            notice(f"{where}: {note}")
        read[stem] = one
    return read


def _above(names: Sequence[str]) -> int:
    """How many folders all pictures lie in, which are no part of a name: a zip has often one."""
    folders, above = [PurePosixPath(name).parts[:-1] for name in names], 0
    while all(folders) and len({parts[0] for parts in folders}) == 1:
        folders, above = [parts[1:] for parts in folders], above + 1
    return above


def _read(name: str, content: bytes, size: int | None, fit: str) -> Photo:
    if not is_dicom(content):
        if PurePosixPath(name).suffix.lower() in SCANS - {""}:
            raise ValueError("no DICOM, whose mark DICM it lacks; export it anew, or as PNG")
        return photo(content, size, fit)
    if size is not None:
        raise ValueError("DICOM keeps its size; leave fit out")
    return dicom(content)


def masks(
    path: str | None, pictures: Mapping[str, Photo | None], size: int | None, fit: str
) -> dict[str, Tensor | None]:
    """Which pixels of each picture are to be drawn anew, bool [H, W], by its name.

    One file is the mask of all; of a folder or zip each has the mask of its own name. Where both
    are resized, the mask had the picture's size before, or it has that of the model.
    """
    if path is None:
        return dict.fromkeys(pictures)
    by_name = photos(path, "mask", None, size, fit)
    read = {
        name: (one.resized, anew_of(f"mask={path}: {name}", one)) for name, one in by_name.items()
    }
    if not _is_set(path):
        read = dict.fromkeys(pictures, next(iter(read.values())))
    if missing := [name for name in pictures if name not in read]:
        raise InputError(f"mask={path}: none is called {missing[0]}; give one a picture, or a file")
    for name, one in pictures.items():
        mine, its = read[name][0], None if one is None else one.resized
        if mine and its and mine not in (its, (size, size)):
            raise InputError(
                f"mask={path}: {mine[0]} x {mine[1]} pixels, and {name} has {its[0]} x {its[1]}; "
                f"give one of its size, or of the model's, {size} x {size}"
            )
    return {name: read[name][1] for name in pictures}


def anew_of(where: str, mask: Photo) -> Tensor:
    """Where a mask is above half, bool [H, W]; InputError, which begins with ``where``, for one of
    which it is not plain what is white."""
    meaning = "white is drawn anew, black is kept"
    if CLEAR in mask.notes:
        raise InputError(f"{where} is transparent in part; save it in grey: {meaning}")
    if bool((mask.levels != mask.levels[:1]).any()):
        raise InputError(f"{where} is in colours; save it in grey: {meaning}")
    most = int(mask.levels.max())
    if 0 < most <= mask.white * HALF:
        raise InputError(
            f"{where} is black everywhere, its brightest level {most} of {mask.white}; save it "
            f"with {mask.white} in the place of {most}: {meaning}"
        )
    grey = mask.levels[0] / mask.white
    between = int(((grey > 0) & (grey < 1)).sum())
    if between:
        notice(f"{where}: {between} grey pixels, drawn anew where above half")
    return grey > HALF


def measurement(path: str) -> Tensor | None:
    """The array of a .npy file, float32; None where the path is none."""
    if not path.lower().endswith(ARRAYS) or not Path(path).is_file():
        return None
    try:
        # Mapped, so that a header that lies asks for no memory.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # what stands in a header is parsed as Python is
        passed_on(error)
        why = " ".join(str(error).split())[:200]
        raise InputError(f"image={path}: no array that can be read ({why}); give one") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu" or not array.size:
        raise InputError(f"image={path}: no array of numbers; save the measurement as floats")
    with np.errstate(over="ignore"):
        y = torch.from_numpy(np.array(array, np.float32))
    if not bool(y.isfinite().all()):
        raise InputError(f"image={path}: holds values that are not finite; put 0 where none is")
    return y


def fit_choice(fit: str | None) -> str:
    """``fit``, or squash for none; InputError unless it is one of ``FITS``."""
    if fit is not None and fit not in FITS:
        raise none_of("fit", fit, FITS, ", or null")
    return fit or FITS[0]


def _is_set(path: str) -> bool:
    """Whether it is a folder or zip of pictures."""
    return Path(path).is_dir() or path.lower().endswith(".zip")


def _contents(path: str, key: str) -> dict[str, bytes]:
    """The content of one file, or of all pictures in a folder or zip, by name."""
    where = Path(path)
    if not path.strip():
        raise InputError(f"{key}=: an empty path; give a picture, or a folder of them")
    if _is_set(path):
        there = members(path, key, SCANS)
        contents = {name: there.read(name) for name in there.names}
        for name in [name for name in contents if not PurePosixPath(name).suffix]:
            if PurePosixPath(name).name == LIST or not is_dicom(contents[name]):
                there.skipped["without an ending"] += 1
                del contents[name]
        if not contents:
            left = f" ({'; '.join(there.left)})" if there.skipped else ""
            raise InputError(f"{key}={path}: no pictures in it{left}; give a folder that has some")
        for note in there.left:
            notice(f"{key}={path}: {note}")
        return contents
    if not where.exists():
        raise InputError(f"{key}={path}: no such file; give a picture, or a folder of them")
    if not where.is_file():
        raise InputError(f"{key}={path}: no plain file; give a picture, or a folder of them")
    return {where.name: _bounded(where, key)}


def _bounded(path: Path, key: str) -> bytes:
    """The content of a file; InputError for one of more than ``MAX_BYTES``."""
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{key}={path}: {error.strerror}; give one that can be read") from error
    if len(content) > MAX_BYTES:
        raise InputError(f"{key}={path}: more than {MAX_BYTES} bytes; give a smaller picture")
    return content
