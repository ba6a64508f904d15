"""Images from whatever a path is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
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

# Data sets that a name alone opens, with their splits train and test.
NAMED: dict[str, Callable[..., DataSource]] = {
    "cifar10": CIFAR10,
    "digits": Digits,
    "fashion_mnist": FashionMNIST,
    "mnist": MNIST,
}


def load_images(path: str, key: str) -> ImageSet:
    """A folder, .zip or .npz of images, grey if every pixel is, or a data set by its name.

    ``key`` is the config key that error messages name.
    """
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
    if path.endswith(".npz"):
        return image_npz(path, key)
    found = image_folder(path, key=key)
    first = found.images[:, :1]
    if bool((found.images == first).all()):
        return replace(found, images=first.contiguous())
    return found


def load_held_out(path: str) -> ImageSet | None:
    """The test split of a data set that ``load_images`` opens by its name; None of any other."""
    return NAMED[path](split="test").load() if path in NAMED else None
