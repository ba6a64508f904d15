"""How images form: x_t beside the denoised estimate, call by call, as an animated picture."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.images.pixels import to_uint8
from sde_diffusion.images.sheet import image_grid
from sde_diffusion.sampling.recorder import Calls

# A dark frame of its own: the same on a light page and on a dark one.
PAPER, INK, SOFT = "#14181d", "#e6e9ed", "#9aa4af"
GAP, LINE = 18, 30
LAST = 2400  # ms that the finished images stay
WHOLE = 4200  # ms that the calls before them share
KINDS = {".webp": "WEBP", ".gif": "GIF"}


@dataclass(frozen=True)
class Film:
    """K calls on n images, ready to be shown.

    Attributes:
        levels: noise levels [K]. states, estimates: uint8 [K + 1, n, C, H, W]; the last of both
            is the finished image.
    """

    levels: Tensor
    states: Tensor
    estimates: Tensor

    @classmethod
    def of(cls, calls: Calls, x: Tensor) -> Film:
        """The film of recorded calls and the images x [>= n, C, H, W] they led to.

        A state is shown as x_t / alpha_t / (1 + 2 level): noise stays within the range of grey.
        """
        n, column = calls.asked.shape[1], calls.levels.to(calls.asked.dtype)
        states = calls.asked / (1 + 2 * column.reshape(-1, *[1] * (calls.asked.ndim - 1)))
        last = to_uint8(x[None, :n])
        return cls(
            calls.levels,
            torch.cat([to_uint8(states), last]),
            torch.cat([to_uint8(calls.answered), last]),
        )


def draw(films: Mapping[str, Film], columns: int | None = None) -> list[Image.Image]:
    """A frame for each call: of every film its label, x_t and the denoised estimate.

    Films of fewer calls stay on their finished images. ``columns`` of each grid: a square.
    """
    font, small = ImageFont.load_default(size=19), ImageFont.load_default(size=17)
    margin = math.ceil(max(font.getlength(label) for label in films))
    margin += 2 * GAP if margin else GAP
    length = max(len(film.states) for film in films.values())
    pictures = []
    for k in range(length):
        rows = {}
        for label, film in films.items():
            at = min(k, len(film.states) - 1)
            rows[label] = [image_grid(x[at], columns) for x in (film.states, film.estimates)]
        (width, _), *_ = (left.size for left, _ in rows.values())
        height = sum(left.height for left, _ in rows.values()) + GAP * (len(rows) - 1) // 2
        sheet = Image.new("RGB", (margin + 2 * width + 2 * GAP, 2 * LINE + height + GAP), PAPER)
        pen, y = ImageDraw.Draw(sheet), LINE + GAP // 2
        pen.text((margin, y - 6), "x_t", fill=SOFT, font=small, anchor="ls")
        second = margin + width + GAP
        pen.text((second, y - 6), "denoised estimate", fill=SOFT, font=small, anchor="ls")
        for label, (left, right) in rows.items():
            pen.text((GAP, y + left.height // 2), label, fill=INK, font=font, anchor="lm")
            sheet.paste(left, (margin, y))
            sheet.paste(right, (second, y))
            y += left.height + GAP // 2
        pen.text((margin, y + 6), _caption(films, k, length), fill=SOFT, font=small, anchor="lt")
        pictures.append(sheet)
    return pictures


def _caption(films: Mapping[str, Film], k: int, length: int) -> str:
    if k == length - 1:
        return f"after {length - 1} denoiser calls"
    levels = {f"{float(film.levels[k]):.3g}" for film in films.values() if k < len(film.levels)}
    level = f", noise level {levels.pop()}" if len(levels) == 1 else ""
    return f"denoiser call {k + 1} of {length - 1}{level}"


def encode(pictures: list[Image.Image], kind: str = ".webp") -> bytes:
    """An endless animation of about seven seconds, WebP or GIF, that rests on its last picture."""
    if kind not in KINDS:
        raise InputError(f"path: ends with {kind or 'nothing'}; choose one of {sorted(KINDS)}")
    each = max(60, min(500, WHOLE // max(1, len(pictures) - 1)))
    buffer = io.BytesIO()
    pictures[0].save(
        buffer,
        KINDS[kind],
        save_all=True,
        append_images=pictures[1:],
        loop=0,
        duration=[each] * (len(pictures) - 1) + [LAST],
        **({"quality": 80, "method": 4} if kind == ".webp" else {}),
    )
    return buffer.getvalue()
