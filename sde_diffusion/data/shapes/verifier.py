"""A reader of pictures of shapes: what is there, and whether it is what was asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from typing import final

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from sde_diffusion.data.shapes import vocabulary as v
from sde_diffusion.data.shapes.render import covered, offsets, palette, patterned
from sde_diffusion.data.shapes.wording import Description, Thing, region

BRIGHT = 0.25  # the least of a pixel's largest channel that belongs to an object
AREA = 12  # pixels of the least object
LIMIT = 5.6  # pixels: the radius of a large object is above
SCALES = (0.9, 0.95, 1.0, 1.05, 1.1)
SLACK = 1.5  # pixels by which a centre may miss the third that was asked for


@final
@dataclass(frozen=True)
class Seen:
    """One object of a picture: names as in ``vocabulary``, centre and radius in pixels."""

    shape: str
    colour: str
    size: str
    texture: str
    x: float
    y: float
    radius: float


def read(images: Tensor) -> list[list[Seen]]:
    """The objects of each picture, uint8 [N, 3, 32, 32] or floats 0 .. 1, the largest first."""
    x = images.float() / 255 if images.dtype == torch.uint8 else images.float()
    seen: list[list[Seen]] = []
    for first in range(0, len(x), 128):
        seen += _read(x[first : first + 128])
    return seen


def _read(x: Tensor) -> list[list[Seen]]:
    masks, rows = _objects(x)
    seen: list[list[Seen]] = [[] for _ in x]
    if not len(rows):
        return seen
    area = masks.sum((1, 2))
    at = torch.arange(v.SIDE, dtype=torch.float32)
    cx, cy = (masks.sum(1) * at).sum(1) / area, (masks.sum(2) * at).sum(1) / area
    colour = _colours(x[rows], masks)
    shape, radius, texture = _fitted(*_tones(x, masks, rows, colour), (cx, cy), area)
    for i in (-area).argsort(stable=True).tolist():
        r = float(radius[i])
        seen[int(rows[i])].append(
            Seen(
                v.SHAPES[int(shape[i])],
                v.COLOUR_NAMES[int(colour[i])],
                v.SIZES[int(r > LIMIT)],
                v.TEXTURES[int(texture[i])],
                float(cx[i]),
                float(cy[i]),
                r,
            )
        )
    return seen


def _objects(x: Tensor) -> tuple[Tensor, Tensor]:
    """Masks float [M, H, W] of all connected bright regions, and the pictures they are of [M]."""
    bright = (x.amax(1) > BRIGHT).numpy()
    joined = np.zeros((3, 3, 3), dtype=int)
    joined[1] = [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
    numbers, count = ndimage.label(bright, joined)
    sizes = np.bincount(numbers.ravel(), minlength=count + 1)
    kept = [k for k in range(1, count + 1) if sizes[k] >= AREA]
    boxes = ndimage.find_objects(numbers)
    rows = torch.tensor([boxes[k - 1][0].start for k in kept], dtype=torch.long)
    labelled = torch.from_numpy(numbers)
    masks = [(labelled[row] == k).float() for row, k in zip(rows.tolist(), kept, strict=True)]
    return torch.stack(masks) if masks else torch.zeros(0, v.SIDE, v.SIDE), rows


def _colours(pixels: Tensor, masks: Tensor) -> Tensor:
    """The colour of each object, by the votes of its pixels [M]."""
    unit = palette() / palette().norm(dim=1, keepdim=True)
    best = torch.einsum("mchw,kc->mkhw", pixels, unit).argmax(1)
    votes = torch.nn.functional.one_hot(best, len(unit)).permute(0, 3, 1, 2)
    weight = (masks * pixels.norm(dim=1))[:, None]
    return (votes * weight).sum((2, 3)).argmax(1)


def _tones(x: Tensor, masks: Tensor, rows: Tensor, colour: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each object: how much of its colour a pixel has above the ground [M, H, W], the ground's
    share of that colour [M], and which pixels are no other object's [M, H, W]."""
    any_ = torch.zeros(len(x), v.SIDE, v.SIDE).index_add_(0, rows, masks)
    near = torch.nn.functional.max_pool2d(any_[:, None], 3, 1, 1)[:, 0]
    free = (1 - near)[:, None]
    ground = ((x * free).sum((1, 2, 3)) / (3 * free.sum((1, 2, 3))).clamp_min(1))[rows]
    c = palette()[colour]
    square = c.square().sum(1)
    above = x[rows] - ground[:, None, None, None]
    tone = torch.einsum("mchw,mc->mhw", above, c) / square[:, None, None]
    others = any_[rows] - masks
    own = 1 - torch.nn.functional.max_pool2d(others[:, None], 3, 1, 1)[:, 0] * (1 - masks)
    return tone, ground * c.sum(1) / square, own


def _fitted(
    tone: Tensor, ground: Tensor, own: Tensor, centre: tuple[Tensor, Tensor], area: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Shape, radius and texture whose rendering is nearest to each object, by least squares."""
    count = len(tone)
    names, turned, shift_x, shift_y = _PATTERNS.unbind(1)
    tones = patterned(names, turned.bool(), shift_x, shift_y, v.SIDE).flatten(1)
    names = torch.cat([names, torch.tensor([v.TEXTURES.index("tinted")])])
    right, down = offsets(*centre)
    best = torch.full((count,), torch.inf)
    shape, texture = (torch.zeros(count, dtype=torch.long) for _ in range(2))
    radius = torch.ones(count)
    for number, of_unit in enumerate(_AREAS):
        for scale in SCALES:
            r = scale * (area / of_unit).sqrt() - 0.15
            cover = covered(torch.full((count,), number), right, down, r)
            fade = 1 - (1 - v.DARK) * ((down / r[:, None, None] + 1) / 2).clamp(0, 1)
            t = (own * (tone + cover * ground[:, None, None])).flatten(1)
            c = (own * cover).flatten(1)
            misfit = t.square().sum(1, keepdim=True) - 2 * (t * c) @ tones.T
            misfit += c.square() @ tones.square().T
            slope = (t - c * fade.flatten(1)).square().sum(1, keepdim=True)
            least, pattern = torch.cat([misfit, slope], 1).min(1)
            better = least < best
            best = torch.where(better, least, best)
            shape[better], radius[better] = number, r[better]
            texture[better] = names[pattern[better]]
    return shape, radius, texture


# Area of each shape of radius 1.
_AREAS = (2.84, 2.25, 1.3, 2.0, 2.07, 2.26)


def _patterns() -> Tensor:
    """Every pattern: texture, turned, shifts, int64 [P, 4]."""
    rows = [(v.TEXTURES.index("plain"), 0, 0, 0)]
    rows += [(v.TEXTURES.index("striped"), turned, k, k) for turned in (0, 1) for k in range(4)]
    for name in ("dotted", "checked"):
        rows += [(v.TEXTURES.index(name), 0, i, j) for i in range(4) for j in range(4)]
    return torch.tensor(rows)


_PATTERNS = _patterns()


def agrees(description: Description, seen: list[Seen], worn: str | None = None) -> bool:
    """Whether a picture shows what is described, all of it and nothing beside it.

    ``worn`` is the texture of the reference patch, that of what is called patterned; None leaves
    it open.
    """
    things = description.things
    if len(things) != len(seen):
        return False
    orders = permutations(seen)
    return any(
        all(_is(thing, each, worn) for thing, each in zip(things, order, strict=True))
        and all(_RELATIONS[said](order[i], order[j]) for i, said, j in description.relations)
        and (description.region is None or _within(description.region, order[0]))
        for order in orders
    )


def _is(thing: Thing, seen: Seen, worn: str | None) -> bool:
    texture = worn if thing.texture == v.PATTERNED else thing.texture
    asked = (
        (thing.shape, seen.shape),
        (thing.colour, seen.colour),
        (thing.size, seen.size),
        (texture, seen.texture),
    )
    return all(want is None or want == have for want, have in asked)


def _within(where: tuple[str, str], seen: Seen) -> bool:
    moves = (-SLACK, 0.0, SLACK)
    rows = {region(seen.x, seen.y + move)[0] for move in moves}
    return where[0] in rows and where[1] in {region(seen.x + move, seen.y)[1] for move in moves}


_RELATIONS: dict[str, Callable[[Seen, Seen], bool]] = {
    "left": lambda a, b: b.x - a.x > 2,
    "right": lambda a, b: a.x - b.x > 2,
    "above": lambda a, b: b.y - a.y > 2,
    "below": lambda a, b: a.y - b.y > 2,
}
