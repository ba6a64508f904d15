"""One picture at the depth in which it is stored: grey of 8 or 16 bits, colours of 8."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sde_diffusion.images.decode import (
    GREY,
    MAX_PIXELS,
    SEVERAL,
    TURNED,
    opened,
    picture,
    several,
    turned,
)
from sde_diffusion.images.depth import (
    check_numbers,
    colours_of_16_bits,
    dark,
    is_grey_and_alpha_of_16,
    is_sixteen,
    notes_of,
    sixteen_bits,
)
from sde_diffusion.images.pixels import from_levels, to_levels
from sde_diffusion.images.profile import KEPT, changes

WHITE_8, WHITE_16 = 255, 65535
NONE = "not an image; give a PNG, JPEG, TIFF or the like"
GREYED = "stored in colours that are all grey, taken as grey"


@dataclass(frozen=True)
class Photo:
    """A picture as it was stored.

    Attributes:
        levels: int32 [C, H, W], 0 .. white, C = 1 or 3.
        white: 255, or 65535 of a picture of 16 bits.
        notes: what was done to it as it was read.
        resized: height and width before it was resized; None where it was not.
    """

    levels: Tensor
    white: int = WHITE_8
    notes: tuple[str, ...] = ()
    resized: tuple[int, int] | None = None

    @property
    def x(self) -> Tensor:
        """float32 [C, H, W], -1 .. 1."""
        return from_levels(self.levels, self.white)

    def in_channels(self, channels: int) -> Photo:
        """Itself in that many channels: grey repeated, or one of three that are equal.

        ValueError, in words, if that cannot be.
        """
        c = len(self.levels)
        if c == channels:
            return self
        if c == 1:
            return replace(self, levels=self.levels.expand(channels, -1, -1))
        if channels == 1 and bool((self.levels == self.levels[:1]).all()):
            return replace(self, levels=self.levels[:1], notes=(*self.notes, GREYED))
        raise ValueError(
            "in colours, and the model draws grey; save it as grey"
            if channels == 1
            else f"of {c} channels, and the model draws {channels}; give a picture of as many"
        )


def photo(content: bytes, size: int | None = None, fit: str = "squash") -> Photo:
    """The picture in a file's content; ValueError, in words, for what is none.

    Args:
        size: resize to size x size as ``decode`` does, 8 bits a channel then; None: as it is.
        fit: what becomes of proportions.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with opened(content, NONE) as image:
            return photo_of(image, size, fit)


def photo_of(image: Image.Image, size: int | None = None, fit: str = "squash") -> Photo:
    """The picture that an open image of Pillow is; arguments and errors as of ``photo``."""
    check_numbers(image)
    if is_grey_and_alpha_of_16(image):
        raise ValueError("grey of 16 bits with transparency; save it without")
    if colours_of_16_bits(image):
        raise ValueError(
            f"colours of 16 bits ({image.mode}), which would lose half of them; save it with 8 "
            "bits a channel, or as grey of 16"
        )
    grey = image.mode in GREY or is_sixteen(image)
    if size is None and is_sixteen(image) and "transparency" not in image.info:
        return _deep(image)
    read = picture(image, size, "L" if grey else "RGB", fit)
    levels = torch.from_numpy(read.array.astype(np.int32)).permute(2, 0, 1)
    return Photo(levels.contiguous(), WHITE_8, read.notes, None if size is None else read.stored)


def _deep(image: Image.Image) -> Photo:
    """Grey of 16 bits."""
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(
            f"{image.width} x {image.height} pixels, more than {MAX_PIXELS}; give a smaller one"
        )
    image.load()
    upright = turned(image)
    levels = torch.from_numpy(sixteen_bits(upright, image).astype(np.int32))
    notes = [*notes_of(image), *([] if upright is image else [TURNED])]
    notes += dark(int(levels.max()), WHITE_16)
    if changes(image.info.get("icc_profile") or b""):
        notes.append(KEPT)
    return Photo(levels[None], WHITE_16, (*notes, SEVERAL) if several(image) else tuple(notes))


def png_of(x: Tensor, white: int = WHITE_8) -> bytes:
    """A picture x [C, H, W], -1 .. 1, as the content of a PNG of 8 bits, or of 16 where it is grey
    and white is 65535."""
    levels = to_levels(x, white if len(x) == 1 else WHITE_8).permute(1, 2, 0).numpy()
    deep = white > WHITE_8 and len(x) == 1
    array = levels.astype(np.uint16 if deep else np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).save(buffer, "PNG")
    return buffer.getvalue()
