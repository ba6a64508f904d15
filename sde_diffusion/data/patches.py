"""Patches of one or a few large pictures: what a texture is learnt from."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from sde_diffusion.data.base import DataSource
from sde_diffusion.data.photos import photos
from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.images.pixels import to_uint8
from sde_diffusion.process.noise import Draws, Stream

SPLITS = ("train", "test")
HELD_OUT = 0.25  # of the width of each picture, at its right
COLOURS = 3


class Patches(DataSource):
    """n square patches uint8 [n, C, size, size] at random places of pictures, labelled by picture.

    Those of the test split lie in the right quarter of each picture, those of the train split in
    the rest: no pixel is in both. Patch i is a function of (seed, split, i) alone.

    Args:
        path: a picture, a folder of them, or a list of either.
        size: side of a patch in pixels. n: how many, in turn of each picture.
        scale: of each picture before it is cut, 0.5 for half the pixels a side.
        grey: grey pictures; null: if all of them are.
        split: train or test. seed: of the places.
    """

    def __init__(
        self,
        path: str | list[str],
        size: int = 64,
        n: int = 8000,
        scale: float = 1.0,
        grey: bool | None = None,
        split: str = "train",
        seed: int = 0,
    ) -> None:
        if split not in SPLITS:
            raise InputError(f"data.split={split}: choose train or test")
        if not 1 <= n <= 2**22 or not 0 <= seed < 2**64:
            raise InputError(f"data.n={n}, seed={seed}: give n from 1 to 4194304, seed >= 0")
        if not 4 <= size <= 1024:
            raise InputError(f"data.size={size}: give 4 to 1024")
        if not 0 < scale <= 1:
            raise InputError(f"data.scale={scale}: give 0 < scale <= 1")
        self.path, self.size, self.n, self.scale = path, size, n, scale
        self.grey, self.split, self.seed = grey, split, seed

    def load(self) -> ImageSet:
        pictures = self._pictures()
        corners = Draws.of_rows(self.seed, range(self.n)).uniform(
            Stream.PATCH, 0, (2,), part=SPLITS.index(self.split)
        )
        areas = [self._area(name, picture) for name, picture in pictures.items()]
        cut = torch.empty(self.n, areas[0].shape[0], self.size, self.size, dtype=torch.uint8)
        for i in range(self.n):
            area = areas[i % len(areas)]
            top, left = (
                int(u * (side - self.size + 1))
                for u, side in zip(corners[i].tolist(), area.shape[1:], strict=True)
            )
            cut[i] = area[:, top : top + self.size, left : left + self.size]
        name = f"patches-{self.split}"
        if len(areas) == 1:
            return ImageSet(cut, None, 0, name)
        labels = torch.arange(self.n) % len(areas)
        return ImageSet(cut, labels, len(areas), name, tuple(pictures))

    def _pictures(self) -> dict[str, Tensor]:
        """uint8 [C, H, W] by name, all of the same channels."""
        paths = [self.path] if isinstance(self.path, str) else list(self.path)
        if not paths:
            raise InputError("data.path=[]: give a picture, or a folder of them")
        read: dict[str, Tensor] = {}
        for path in paths:
            for name, one in photos(path, "data.path", None).items():
                if name in read:
                    raise InputError(f"data.path: two pictures are called {name}; rename one")
                read[name] = to_uint8(one.x)
        equal = all(len(x) == 1 or bool((x == x[:1]).all()) for x in read.values())
        grey = equal if self.grey is None else self.grey
        if grey and not equal:
            raise InputError("data.grey=true: a picture has colours; save it as grey, or leave out")
        channels = 1 if grey else COLOURS
        return {
            name: x[:channels] if len(x) >= channels else x.expand(channels, -1, -1)
            for name, x in read.items()
        }

    def _area(self, name: str, picture: Tensor) -> Tensor:
        """The part of a picture that this split is cut from."""
        if self.scale < 1:
            smaller = F.interpolate(
                picture[None].float(), scale_factor=self.scale, mode="bicubic", antialias=True
            )
            picture = smaller[0].round().clamp(0, 255).to(torch.uint8)
        border = round((1 - HELD_OUT) * picture.shape[2])
        area = picture[..., :border] if self.split == "train" else picture[..., border:]
        if min(area.shape[1:]) < self.size:
            raise InputError(
                f"data.size={self.size}: {Path(name).name} leaves {area.shape[1]} x "
                f"{area.shape[2]} pixels for data.split={self.split}; give a smaller size, or a "
                "larger picture"
            )
        return area
