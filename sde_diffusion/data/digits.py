"""The 8 x 8 handwritten digits of Alpaydin & Kaynak (1998), embedded in the package."""

from __future__ import annotations

import torch
from safetensors.torch import load_file

from sde_diffusion.data.base import DataSource
from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.system.storage import asset

HELD_OUT = 297


class Digits(DataSource):
    """1,500 digits (``train``) or the last 297 (``test``), uint8 [N, 1, 8, 8], ten classes.

    Args:
        split: ``train`` or ``test``.
    """

    def __init__(self, split: str = "train") -> None:
        if split not in ("train", "test"):
            raise InputError(f"data.split={split}: choose train or test")
        self.split = split

    def load(self) -> ImageSet:
        content = load_file(asset("data-digits"))
        rows = slice(None, -HELD_OUT) if self.split == "train" else slice(-HELD_OUT, None)
        labels = content["labels"][rows].to(torch.int64)
        return ImageSet(content["images"][rows], labels, 10, f"digits-{self.split}")
