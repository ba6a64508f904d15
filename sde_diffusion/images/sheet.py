"""Grids of images, and clouds of points, as pictures."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from sde_diffusion.images.pixels import to_uint8

FRAME = 96  # grey between pictures


def image_grid(images: Tensor, columns: int | None = None, scale: int | None = None) -> Image.Image:
    """uint8 images [N, C, H, W] in rows of ``columns`` (a square by default), one pixel apart.

    ``scale`` magnifies by a whole number, so that small images stay sharp: 64 px by default.
    """
    n, c, h, w = images.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    missing = torch.zeros(rows * columns - n, c, h, w, dtype=torch.uint8)
    framed = F.pad(torch.cat([images, missing]), (0, 1, 0, 1), value=FRAME)
    sheet = framed.reshape(rows, columns, c, h + 1, w + 1).permute(0, 3, 1, 4, 2)
    array = sheet.reshape(rows * (h + 1), columns * (w + 1), c)[:-1, :-1]
    picture = Image.fromarray(array.squeeze(-1).numpy() if c == 1 else array.numpy())
    factor = scale or max(1, 64 // max(h, w))
    return picture.resize(
        (picture.width * factor, picture.height * factor), Image.Resampling.NEAREST
    )


def image_rows(rows: Sequence[Sequence[Tensor]], side: int = 64) -> Image.Image:
    """uint8 pictures [C, H, W] of any sizes in rows, in the middle of cells of the largest, which
    are magnified by a whole number to about ``side`` pixels."""
    every = [picture for row in rows for picture in row]
    channels, height, width = (max(p.shape[i] for p in every) for i in range(3))
    columns = max(map(len, rows))
    cells = torch.full((len(rows) * columns, channels, height, width), FRAME, dtype=torch.uint8)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            h, w = picture.shape[1:]
            top, left = (height - h) // 2, (width - w) // 2
            cells[i * columns + j, :, top : top + h, left : left + w] = picture
    return image_grid(cells, columns, max(1, side // max(height, width)))


def shown(x: Tensor, columns: int | None = None) -> Image.Image:
    """Samples x [N, *shape], about -1 .. 1, as a picture: images in a grid, vectors as a cloud."""
    return cloud(x) if x.ndim == 2 else image_grid(to_uint8(x), columns)


def cloud(x: Tensor, side: int = 256) -> Image.Image:
    """How many vectors x [N, d] lie where, by their first two coordinates (one, against 0).

    The square is centred at 0 and holds all but the outermost 1 % of the coordinates; brightness
    goes with the square root of the count, and the second coordinate points up.
    """
    plane = F.pad(x[:, :2].double(), (0, max(0, 2 - x.shape[1])))
    reach = 1.1 * float(plane.abs().flatten().quantile(0.99)) or 1.0
    cells = ((plane / reach + 1) / 2 * side).floor().long()
    inside = ((cells >= 0) & (cells < side)).all(1)
    right, up = cells[inside].T
    counts = torch.bincount((side - 1 - up) * side + right, minlength=side**2)
    grey = (counts / counts.max().clamp_min(1)).sqrt() * 255
    return Image.fromarray(grey.reshape(side, side).round().to(torch.uint8).numpy())


def png_bytes(picture: Image.Image) -> bytes:
    """A picture as the content of a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
