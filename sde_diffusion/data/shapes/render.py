"""Pictures, layouts and reference patches of scenes."""

from __future__ import annotations

import torch
from torch import Tensor

from sde_diffusion.data.shapes import vocabulary as v
from sde_diffusion.data.shapes.scenes import Scenes

PATCH = 16  # side of a reference patch
CHUNK = 512  # scenes that are drawn at once


def pictures(scenes: Scenes) -> tuple[Tensor, Tensor]:
    """uint8 pictures [N, 3, 32, 32], and layouts uint8 [N, 2, 32, 32].

    A layout has, of each pixel, the shape (1 + its number) and the colour (1 + its number); 0
    where the background is.
    """
    parts = [_drawn(scenes, slice(i, i + CHUNK)) for i in range(0, len(scenes), CHUNK)]
    return torch.cat([p for p, _ in parts]), torch.cat([m for _, m in parts])


def _drawn(scenes: Scenes, rows: slice) -> tuple[Tensor, Tensor]:
    present = scenes.present[rows]
    where = present.nonzero()[:, 0]

    def of(values: Tensor) -> Tensor:
        return values[rows][present]

    shape, colour = of(scenes.shape), of(scenes.colour)
    x, y = offsets(of(scenes.x), of(scenes.y))
    cover = covered(shape, x, y, of(scenes.radius))
    turned, shifts = of(scenes.turned), (of(scenes.shift_x), of(scenes.shift_y))
    tone = patterned(of(scenes.texture), turned, *shifts, v.SIDE)
    slope = of(scenes.texture) == v.TEXTURES.index("tinted")
    fade = 1 - (1 - v.DARK) * ((y / of(scenes.radius).float()[:, None, None] + 1) / 2).clamp(0, 1)
    tone = torch.where(slope[:, None, None], fade, tone)
    ink = (cover * tone)[:, None] * palette()[colour][:, :, None, None]
    n, size = len(present), (v.SIDE, v.SIDE)
    painted = torch.zeros(n, 3, *size).index_add_(0, where, ink)
    free = 1 - torch.zeros(n, *size).index_add_(0, where, cover)
    picture = painted + (free.clamp_min(0) * scenes.ground[rows].float()[:, None, None])[:, None]
    inside = (cover > 0.5).long()
    layout = torch.zeros(n, 2, *size, dtype=torch.long)
    layout[:, 0].index_add_(0, where, inside * (shape + 1)[:, None, None])
    layout[:, 1].index_add_(0, where, inside * (colour + 1)[:, None, None])
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8), layout.to(torch.uint8)


def palette() -> Tensor:
    """Colours as RGB 0 .. 1, [colours, 3]."""
    return torch.tensor(list(v.COLOURS.values()), dtype=torch.float32) / 255


def offsets(x: Tensor, y: Tensor, side: int = v.SIDE) -> tuple[Tensor, Tensor]:
    """Of each pixel from the centres x, y [M]: right and down, float32 [M, side, side] each."""
    at = torch.arange(side, dtype=torch.float32)
    right = at[None, None, :] - x.float()[:, None, None]
    down = at[None, :, None] - y.float()[:, None, None]
    return right.expand(-1, side, -1), down.expand(-1, -1, side)


def covered(shape: Tensor, x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    """Share of each pixel that lies within an object, by its distance from the edge [M, H, W]."""
    cover = torch.empty_like(x)
    for number, name in enumerate(v.SHAPES):
        rows = shape == number
        d = distance(name, x[rows], y[rows], radius[rows].float()[:, None, None])
        cover[rows] = (0.5 - d).clamp(0, 1)
    return cover


def distance(name: str, x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    """Distance from the edge of a shape in a circle of radius r, below 0 within; y points down."""
    ax, ay = x.abs(), y.abs()
    if name == "circle":
        return torch.hypot(x, y) - 0.95 * r
    if name == "square":
        return torch.maximum(ax, ay) - 0.75 * r
    if name == "triangle":  # of equal sides, its corners on the circle, one at the top
        return torch.maximum(y - 0.5 * r, 0.75**0.5 * ax - 0.5 * y - 0.5 * r)
    if name == "diamond":
        return (ax + ay - r) * 0.5**0.5
    if name == "cross":
        a, b = 0.95 * r, 0.33 * r
        upright, flat = torch.maximum(ax - b, ay - a), torch.maximum(ax - a, ay - b)
        return torch.minimum(upright, flat)
    if name == "ring":
        return (torch.hypot(x, y) - 0.72 * r).abs() - 0.25 * r
    raise ValueError(f"no shape {name}")


def patterned(
    texture: Tensor, turned: Tensor, shift_x: Tensor, shift_y: Tensor, side: int
) -> Tensor:
    """Tone of each pixel, 1 or ``DARK``, of patterns four pixels wide: [M, side, side].

    The tint of an object follows its height and is not a pattern: 1 here.
    """
    at = torch.arange(side)
    a = ((at + shift_x[:, None]) % 4 < 2)[:, None, :]  # [M, 1, side]
    b = ((at + shift_y[:, None]) % 4 < 2)[:, :, None]
    striped = torch.where(turned[:, None, None], b.expand(-1, -1, side), a.expand(-1, side, -1))
    dark = torch.zeros(len(texture), side, side, dtype=torch.bool)
    for name, where in (("striped", striped), ("dotted", a & b), ("checked", a ^ b)):
        rows = texture == v.TEXTURES.index(name)
        dark[rows] = where[rows]
    return torch.where(dark, v.DARK, 1.0)


def patches(
    texture: Tensor, colour: Tensor, turned: Tensor, shift_x: Tensor, shift_y: Tensor
) -> Tensor:
    """Reference patches uint8 [M, 3, PATCH, PATCH]: a texture in a colour."""
    tone = patterned(texture, turned, shift_x, shift_y, PATCH)
    fade = torch.linspace(1, v.DARK, PATCH)[:, None].expand(PATCH, PATCH)
    slope = texture == v.TEXTURES.index("tinted")
    tone = torch.where(slope[:, None, None], fade, tone)
    return (255 * tone[:, None] * palette()[colour][:, :, None, None]).round().to(torch.uint8)
