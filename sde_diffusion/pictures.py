"""Grids of images as pictures."""

from __future__ import annotations

import io
import math

import torch
import torch.nn.functional as F
from PIL import Image
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


def png_bytes(picture: Image.Image) -> bytes:
    """A picture as the content of a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
