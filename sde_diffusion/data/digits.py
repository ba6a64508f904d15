"""The 8 x 8 handwritten digits of Alpaydin & Kaynak (1998), embedded in the package."""

from __future__ import annotations

import torch
from safetensors.torch import load_file

from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.system.storage import asset

HELD_OUT = 297


def digits(split: str = "train") -> ImageSet:
    """1,500 digits (``train``) or the last 297 (``test``), uint8 [N, 1, 8, 8], ten classes."""
    content = load_file(asset("data-digits"))
    rows = {"train": slice(None, -HELD_OUT), "test": slice(-HELD_OUT, None)}.get(split)
    if rows is None:
        raise InputError(f"data.split={split}: choose train or test")
    labels = content["labels"][rows].to(torch.int64)
    return ImageSet(content["images"][rows], labels, classes=10, name=f"digits-{split}")
