"""Grids of images as pictures."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor


def image_grid(images: Tensor, columns: int | None = None, scale: int | None = None) -> Image.Image:
    """uint8 images [N, C, H, W] in rows of ``columns`` (a square by default), one pixel apart.

    ``scale`` magnifies by a whole number, so that small images stay sharp: 64 px by default.
    """
    n, c, h, w = images.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    missing = torch.zeros(rows * columns - n, c, h, w, dtype=torch.uint8)
    framed = F.pad(torch.cat([images, missing]), (0, 1, 0, 1), value=96)
    sheet = framed.reshape(rows, columns, c, h + 1, w + 1).permute(0, 3, 1, 4, 2)
    array = sheet.reshape(rows * (h + 1), columns * (w + 1), c)[:-1, :-1]
    picture = Image.fromarray(array.squeeze(-1).numpy() if c == 1 else array.numpy())
    factor = scale or max(1, 64 // max(h, w))
    return picture.resize(
        (picture.width * factor, picture.height * factor), Image.Resampling.NEAREST
    )


def same_seed_rows(shown: Mapping[tuple[str, str], Tensor]) -> Image.Image:
    """A labelled row for each (solver, NFE) of uint8 images [K, C, H, W], the same seeds below
    each other."""
    strips = {
        f"{solver}, NFE {nfe}": image_grid(images, len(images))
        for (solver, nfe), images in shown.items()
    }
    font = ImageFont.load_default(size=18)
    margin = 16 + math.ceil(max(font.getlength(label) for label in strips))
    width = margin + max(strip.width for strip in strips.values())
    sheet = Image.new(
        "RGB", (width, sum(4 + strip.height for strip in strips.values()) - 4), "white"
    )
    draw, y = ImageDraw.Draw(sheet), 0
    for label, strip in strips.items():
        sheet.paste(strip, (margin, y))
        draw.text((8, y + strip.height // 2), label, fill="black", font=font, anchor="lm")
        y += strip.height + 4
    return sheet


def png_bytes(picture: Image.Image) -> bytes:
    """A picture as the content of a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
