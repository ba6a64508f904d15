"""Images from whatever a path is."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

from sde_diffusion.data.base import DataSource
from sde_diffusion.data.cifar10 import CIFAR10
from sde_diffusion.data.digits import Digits
from sde_diffusion.data.fashion_mnist import FashionMNIST
from sde_diffusion.data.folder import image_folder
from sde_diffusion.data.mnist import MNIST
from sde_diffusion.data.npz import image_npz
from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.system.notice import notice

# Data sets that a name alone opens, with their splits train and test.
NAMED: dict[str, Callable[..., DataSource]] = {
    "cifar10": CIFAR10,
    "digits": Digits,
    "fashion_mnist": FashionMNIST,
    "mnist": MNIST,
}
SAMPLES = "samples.npz"
SAMPLES_ZIP = "samples.zip"  # of those that are too many for one


def load_images(path: str, key: str) -> ImageSet:
    """A folder, .zip or .npz of images, the folder of a ``sample`` job, or a data set by its name.

    Grey if all its files are stored as grey. A line says what was read. ``key`` is the config key
    that error messages name.
    """
    images = _read(path, key)
    notice(f"{key}={path}: {images.described}")
    return images


def _read(path: str, key: str) -> ImageSet:
    if not path.strip():
        raise InputError(
            f"{key}=: an empty path; give a folder, .zip or .npz, or one of {sorted(NAMED)}"
        )
    if path in NAMED:
        try:
            return NAMED[path]().load()
        except InputError as error:
            raise InputError(f"{key}={path}: {error}; or set {path.upper()}_ROOT") from error
    if not Path(path).exists():
        raise InputError(
            f"{key}={path}: no such folder or file; give a folder, .zip or .npz, "
            f"or one of {sorted(NAMED)}"
        )
    if Path(path, SAMPLES).is_file():  # beside it lies a contact sheet
        return image_npz(str(Path(path, SAMPLES)), key)
    if Path(path, SAMPLES_ZIP).is_file():
        return image_folder(str(Path(path, SAMPLES_ZIP)), key=key, stored=True)
    if Path(path, ".hydra").is_dir():
        raise InputError(
            f"{key}={path}: a folder of results without {SAMPLES}; give a folder of images, or one "
            "that 'sde-diffusion sample' has written"
        )
    return image_npz(path, key) if is_npz(path) else image_folder(path, key=key, stored=True)


def is_npz(path: str) -> bool:
    """Whether a path is to be read as a numpy archive: by its name, or by what a zip holds."""
    if path.lower().endswith(".npz"):
        return True
    if not Path(path).is_file():
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".npy") for name in archive.namelist())
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return False


def load_held_out(path: str) -> ImageSet | None:
    """The test split of a data set that ``load_images`` opens by its name; None of any other."""
    return NAMED[path](split="test").load() if path in NAMED else None
