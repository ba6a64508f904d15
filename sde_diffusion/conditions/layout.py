"""Layouts: what shape and colour each pixel is to have, as a picture.

A pixel of the map has the colour of its object; the three lowest bits of red, zero in every colour
of a legend, number its shape from 1 on. Black is the background.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sde_diffusion.conditions.condition import LAYOUT, Condition, Part
from sde_diffusion.conditions.conditioner import Conditioner
from sde_diffusion.errors import InputError
from sde_diffusion.images.decode import CLEAR, Picture, decode, picture
from sde_diffusion.system.interrupts import passed_on
from sde_diffusion.system.notice import notice

BITS = 7


@final
class Layout(Conditioner):
    """``layout=map.png``: one map for all images.

    Args:
        shapes: names of shapes 1, 2, ... colours: RGB by name, of colours 1, 2, ...
        side: height and width of a map.
    """

    words = (LAYOUT,)

    def __init__(
        self, shapes: Sequence[str], colours: Mapping[str, Sequence[int]], side: tuple[int, int]
    ) -> None:
        self.shapes, self.colours, self.side = tuple(shapes), dict(colours), side

    def encode(self, wishes: Mapping[str, Any], seeds: Sequence[int]) -> Condition | None:
        wish = wishes.get(LAYOUT)
        if wish is None:
            return None
        name = f"{LAYOUT}={wish}" if isinstance(wish, str | Path) else LAYOUT
        planes = self.planes(opened(wish, LAYOUT, self.side, colours=False), name)
        return Condition({LAYOUT: Part.of(planes.expand(len(seeds), -1, -1, -1))})

    def planes(self, pixels: np.ndarray, name: str) -> Tensor:
        """Shape and colour of each pixel, uint8 [2, H, W], of a map uint8 [H, W, 3]."""
        red, shape = pixels[..., 0] & ~np.uint8(BITS), pixels[..., 0] & np.uint8(BITS)
        colour = np.zeros(shape.shape, dtype=np.uint8)
        for number, rgb in enumerate(self.colours.values(), start=1):
            same = (red == rgb[0]) & (pixels[..., 1] == rgb[1]) & (pixels[..., 2] == rgb[2])
            colour[same] = number
        black = (pixels == 0).all(-1)
        strange = ~black & ((colour == 0) | (shape == 0) | (shape > len(self.shapes)))
        if strange.any():
            row, column = map(int, np.argwhere(strange)[0])
            legend = ", ".join(f"{word} {tuple(rgb)}" for word, rgb in self.colours.items())
            shapes = ", ".join(f"{i} {word}" for i, word in enumerate(self.shapes, start=1))
            raise InputError(
                f"{name}: pixel ({row}, {column}) is "
                f"{tuple(pixels[row, column].tolist())}, none of black and {legend}, plus in red "
                f"the number of a shape: {shapes}; paint with these alone, unsmoothed, and save a "
                "PNG, which keeps them"
            )
        return torch.from_numpy(np.stack([np.where(black, 0, shape), colour]))

    def picture(self, planes: Tensor) -> Image.Image:
        """The map of planes uint8 [2, H, W], which ``planes`` reads."""
        table = np.array([(0, 0, 0), *self.colours.values()], dtype=np.uint8)
        pixels = table[planes[1].numpy()]
        pixels[..., 0] += planes[0].numpy()
        return Image.fromarray(pixels)


def opened(path: Any, key: str, side: tuple[int, int], colours: bool = True) -> np.ndarray:
    """uint8 [H, W, 3] of a picture of that size; InputError names ``key``.

    Args:
        colours: whether its numbers are colours, which a profile may change, or mere numbers.
    """
    if isinstance(path, np.ndarray | Tensor):
        pixels = np.asarray(path)
    else:
        where, read = _read(path, key, colours)
        if CLEAR in read.notes:
            raise InputError(
                f"{where}: transparent in part; say in colours what is there, and save it "
                "without transparency"
            )
        for note in read.notes:
            notice(f"{where}: {note}")
        pixels = read.array
    wanted = (*side, 3)
    if pixels.dtype != np.uint8 or pixels.shape != wanted:
        raise InputError(
            f"{key}: a picture of {pixels.dtype} {pixels.shape}; this model takes uint8 {wanted}, "
            f"height, width and three colours; {_remedy(pixels, wanted, colours)}"
        )
    return pixels


def _read(layout: Any, key: str, colours: bool) -> tuple[str, Picture]:
    """The picture of a file or of Pillow, and how messages call it; InputError for none."""
    if isinstance(layout, Image.Image):
        try:
            return key, picture(layout, None, "RGB", colours=colours)
        except (ValueError, OSError) as error:
            why = " ".join(str(error).split())
            raise InputError(f"{key}: {why}; give a picture of 8 bits") from error
    if not isinstance(layout, str | Path):
        raise InputError(f"{key}: a {type(layout).__name__}; give one picture, or its path")
    where = f"{key}={layout}"
    if not Path(layout).is_file():
        raise InputError(f"{where}: no such file; give a picture, {key}=map.png")
    try:
        return where, decode(Path(str(layout)).read_bytes(), None, "RGB", colours=colours)
    except ValueError as error:
        why = " ".join(str(error).split())
        raise InputError(f"{where}: is no picture that can be read; give a PNG ({why})") from error
    except Exception as error:  # every decoder has its own
        passed_on(error)
        raise InputError(f"{where}: is no picture that can be read; give a PNG") from error


def _remedy(pixels: np.ndarray, wanted: tuple[int, ...], colours: bool) -> str:
    """What makes a picture of that shape of an array."""
    if pixels.shape == (wanted[2], *wanted[:2]):
        return "give channels last, array.transpose(1, 2, 0)"
    if pixels.shape == wanted:
        return "give whole numbers 0 .. 255, as numpy.uint8"
    smooth = "" if colours else ", without smoothing"
    return f"make it {wanted[1]} x {wanted[0]} pixels of them{smooth}"
