"""The same seeds by each solver, below each other."""

from __future__ import annotations

import math
from collections.abc import Mapping

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from sde_diffusion.images.sheet import image_grid


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
