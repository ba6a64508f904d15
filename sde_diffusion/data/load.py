"""Images from whatever a path is."""

from __future__ import annotations

from pathlib import Path

from sde_diffusion.data.folder import image_folder
from sde_diffusion.data.images import ImageSet
from sde_diffusion.data.npz import image_npz
from sde_diffusion.errors import InputError


def load_images(path: str, key: str) -> ImageSet:
    """A folder, .zip or .npz of images; grey if every pixel is. InputError names ``key``."""
    if not Path(path).exists():
        raise InputError(f"{key}={path}: no such folder or file; give a folder, .zip or .npz")
    if path.endswith(".npz"):
        return image_npz(path, key)
    found = image_folder(path, key=key)
    first = found.images[:, :1]
    if bool((found.images == first).all()):
        return ImageSet(first.contiguous(), found.labels, found.classes, found.name)
    return found
