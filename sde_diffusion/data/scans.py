"""Procedural scans: grey phantoms of nested ellipses with lesions whose place is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sde_diffusion.data.base import DataSource
from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.process.noise import Draws, Stream

SPLITS = ("train", "test")
SIDE = 64
LESIONS = 3  # at most, one in each third of the circle
RADII = (2.0, 3.0)  # pixels
CONTRAST = 0.3  # over the tissue, where black is 0 and white 1
TISSUES = (0.22, 0.32, 0.52, 0.62)  # grey of the classes that lie in the ground tissue
GROUND = 0.42
ORGANS = 4  # ellipses, each with one nested in it
BLOCK = 256  # images that are drawn at once
NUMBERS = 96  # uniforms an image: 16 of the body, 64 of the organs, 16 of the lesions


@final
@dataclass(frozen=True)
class Phantoms:
    """Scans and what is in them.

    Attributes:
        images: uint8 [N, 1, 64, 64].
        lesions: float32 [N, 3, 4]: row and column of the centre in pixels, radius in pixels,
            contrast over the tissue in units of white; not a number where there is none.
    """

    images: Tensor
    lesions: Tensor


class Scans(DataSource):
    """n phantoms uint8 [n, 1, 64, 64]: a skull, tissues in nested ellipses, none to three lesions.

    A lesion is a bright disc of radius 2 or 3 pixels, 0.3 of white over the tissue that it lies in.
    Image i is a function of (seed, split, i) alone, so there is no end to them and any part can be
    drawn by itself; their truth is ``phantoms(first, n).lesions``.

    Args:
        n: how many are held in memory, 4,096 bytes each.
        split: two splits share no draw. seed: nor do two seeds.
    """

    def __init__(self, n: int = 20000, split: str = "train", seed: int = 0) -> None:
        if split not in SPLITS:
            raise InputError(f"data.split={split}: choose train or test")
        if not 1 <= n <= 2**22 or not 0 <= seed < 2**64:
            raise InputError(f"data.n={n}, seed={seed}: give n from 1 to 4194304, seed >= 0")
        self.n, self.split, self.seed = n, split, seed

    def load(self) -> ImageSet:
        return ImageSet(self.phantoms(0, self.n).images, None, 0, f"scans-{self.split}")

    def phantoms(self, first: int, n: int) -> Phantoms:
        """Phantoms first .. first + n - 1 and their lesions."""
        if first < 0 or n < 1 or first + n > 2**32:
            raise InputError(f"first={first}, n={n}: give first >= 0, n >= 1")
        blocks = [
            self._block(start, min(start + BLOCK, first + n))
            for start in range(first, first + n, BLOCK)
        ]
        images = torch.cat([block.images for block in blocks])
        return Phantoms(images, torch.cat([block.lesions for block in blocks]))

    def _block(self, start: int, stop: int) -> Phantoms:
        draws = Draws.of_rows(self.seed, range(start, stop))
        part = SPLITS.index(self.split)
        u = draws.uniform(Stream.PHANTOM, 0, (NUMBERS,), torch.float32, part)
        picture, inside = _body(u[:, :16])
        picture = _organs(picture, inside, u[:, 16:80])
        picture, lesions = _lesions(picture, u[:, 80:])
        return Phantoms((255 * picture).round().to(torch.uint8)[:, None], lesions)


def _axis() -> Tensor:
    """Coordinates of the pixels' centres, -1 .. 1 from edge to edge [64]."""
    return (torch.arange(SIDE) + 0.5) * (2 / SIDE) - 1


def _ellipse(row: Tensor, column: Tensor, a: Tensor, b: Tensor, angle: Tensor) -> Tensor:
    """How much of each pixel lies in an ellipse [N, 64, 64], 0 .. 1, its edge one pixel wide.

    Args:
        row, column: of the centre [N]. a, b: half axes [N]. angle: of a to the rows' axis [N].
    """
    y = _axis()[None, :, None] - row[:, None, None]
    x = _axis()[None, None, :] - column[:, None, None]
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    along, across = (cos * y + sin * x) / a[:, None, None], (cos * x - sin * y) / b[:, None, None]
    depth = 1 - (along.square() + across.square()).sqrt()
    pixels = torch.minimum(a, b) * (SIDE / 2)
    return (0.5 + depth * pixels[:, None, None]).clamp(0, 1)


def _over(picture: Tensor, where: Tensor, grey: Tensor) -> Tensor:
    """``picture`` with ``grey`` [N] painted where ``where`` is 1."""
    return picture + where * (grey[:, None, None] - picture)


def _between(u: Tensor, low: float, high: float) -> Tensor:
    return low + (high - low) * u


def _body(u: Tensor) -> tuple[Tensor, Tensor]:
    """The skull and the ground tissue in it [N, 64, 64], and where the tissue is."""
    row, column = _between(u[:, 0], -0.06, 0.06), _between(u[:, 1], -0.06, 0.06)
    a, b = _between(u[:, 2], 0.74, 0.9), _between(u[:, 3], 0.62, 0.78)
    angle, wall = _between(u[:, 4], -0.25, 0.25), _between(u[:, 5], 0.07, 0.12)
    skull = _ellipse(row, column, a, b, angle)
    inside = _ellipse(row, column, a - wall, b - wall, angle)
    picture = _over(torch.zeros_like(skull), skull, _between(u[:, 6], 0.78, 0.95))
    picture = _over(picture, inside, GROUND + _between(u[:, 7], -0.03, 0.03))
    # Two dark chambers beside the middle.
    tilt, size = _between(u[:, 8], 0.1, 0.45), _between(u[:, 9], 0.16, 0.28)
    for side in (-1, 1):
        at = column + side * _between(u[:, 10], 0.1, 0.16)
        grey = _between(u[:, 11], 0.08, 0.14)
        picture = _over(picture, _ellipse(row, at, size, size / 2.8, side * tilt), grey)
    return picture, inside


def _organs(picture: Tensor, inside: Tensor, u: Tensor) -> Tensor:
    """Ellipses of the tissue classes, each with one of another class nested in it."""
    classes = torch.tensor(TISSUES)
    for j in range(ORGANS):
        v = u[:, 16 * j : 16 * (j + 1)]
        turn = 2 * math.pi * (j + v[:, 0]) / ORGANS
        far = _between(v[:, 1], 0.3, 0.5)
        row, column = 1.15 * far * turn.cos(), far * turn.sin()
        a, b = _between(v[:, 2], 0.14, 0.3), _between(v[:, 3], 0.1, 0.2)
        angle = math.pi * v[:, 4]
        kind = (4 * v[:, 5]).long().clamp_max(3)
        other = (kind + 1 + (3 * v[:, 6]).long().clamp_max(2)) % 4
        shrink = _between(v[:, 7], 0.4, 0.65)
        for scale, tissue, jitter in ((1.0, kind, v[:, 8]), (shrink, other, v[:, 9])):
            where = inside * _ellipse(row, column, scale * a, scale * b, angle)
            picture = _over(picture, where, classes[tissue] + _between(jitter, -0.02, 0.02))
    return picture


def _lesions(picture: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """``picture`` with its lesions, and their list [N, 3, 4]."""
    count = (4 * u[:, 0]).long().clamp_max(LESIONS)
    lesions = torch.full((len(u), LESIONS, 4), math.nan)
    for j in range(LESIONS):
        v = u[:, 1 + 4 * j : 5 + 4 * j]
        turn = 2 * math.pi * (j + 0.6 * v[:, 0] + u[:, 15]) / LESIONS
        far = _between(v[:, 1], 0.27, 0.34)  # two never touch, nor one the skull
        row, column = 1.35 * far * turn.cos(), far * turn.sin()
        pixels = torch.where(v[:, 2] < 0.5, RADII[0], RADII[1])
        disc = _ellipse(row, column, pixels * (2 / SIDE), pixels * (2 / SIDE), turn)
        present = j < count
        picture = picture + CONTRAST * present[:, None, None] * disc
        centre = ((row + 1) * (SIDE / 2) - 0.5, (column + 1) * (SIDE / 2) - 0.5)
        truth = torch.stack([*centre, pixels, torch.full_like(pixels, CONTRAST)], 1)
        lesions[:, j] = torch.where(present[:, None], truth, math.nan)
    return picture, lesions
