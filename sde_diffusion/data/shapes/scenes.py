"""Scenes: what picture i of a seed holds, a function of (seed, i) alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sde_diffusion.data.shapes import vocabulary as v
from sde_diffusion.process.noise import Draws, Stream

TRIES = 32  # placements, of which the first good one is taken
# Where none is: far apart for all sizes that go together.
CORNERS = ((8.0, 8.0), (23.5, 12.0), (12.0, 23.5))


@final
@dataclass(frozen=True)
class Scenes:
    """N scenes of up to ``OBJECTS`` objects, each [N, OBJECTS] unless it says otherwise.

    Attributes:
        count: objects of each scene, int64 [N]; entries beyond it mean nothing.
        shape, colour, texture: int64, numbers in ``SHAPES``, ``COLOURS``, ``TEXTURES``.
        large: bool. radius, x, y: of the circle around an object, in pixels; pixel (0, 0) has its
            centre at 0.
        turned, shift_x, shift_y: stripes that lie flat, and the phase of a pattern, 0 .. 3 pixels.
        ground: grey of the background, 0 .. 1, [N].
        choices: uniforms for whoever words the scene, [N, K].
    """

    count: Tensor
    shape: Tensor
    colour: Tensor
    texture: Tensor
    large: Tensor
    radius: Tensor
    x: Tensor
    y: Tensor
    turned: Tensor
    shift_x: Tensor
    shift_y: Tensor
    ground: Tensor
    choices: Tensor

    @property
    def present(self) -> Tensor:
        """Which objects are there, bool [N, OBJECTS]."""
        return torch.arange(v.OBJECTS) < self.count[:, None]

    def __len__(self) -> int:
        return len(self.count)


def scenes(seed: int, rows: range, all_pairs: bool, objects: int | None = None) -> Scenes:
    """Scenes ``rows`` of ``seed``.

    Args:
        all_pairs: whether pairs of shape and colour that training never shows may occur.
        objects: how many objects each has; None: one to three.
    """
    draws = Draws.of_rows(seed, rows)
    u = draws.uniform(Stream.SCENE, 0, (12, v.OBJECTS))
    count = _pick(u[:, 0, 0], v.COUNTS) + 1 if objects is None else torch.full((len(u),), objects)
    shape = (u[:, 1] * len(v.SHAPES)).long()
    table = allowed(all_pairs)[shape]  # [N, OBJECTS, colours], those that may be first
    colour = table.gather(2, (u[:, 2] * (table >= 0).sum(2)).long()[..., None])[..., 0]
    large = u[:, 3] < v.LARGE
    several = count == v.OBJECTS
    chosen = (u[:, 0, 1] * 2 * v.OBJECTS).long()  # one of the three, or none
    large = torch.where(several[:, None], torch.arange(v.OBJECTS) == chosen[:, None], large)
    low, high = torch.tensor(v.RADII, dtype=torch.float64)[large.long()].unbind(-1)
    radius = low + (high - low) * u[:, 4]
    x, y = _placed(draws, radius, count)
    phase = (u[:, 6:8] * 4).long()
    return Scenes(
        count,
        shape,
        colour,
        _pick(u[:, 5], v.TEXTURE_LAW),
        large,
        radius,
        x,
        y,
        u[:, 8] < 0.5,
        phase[:, 0],
        phase[:, 1],
        0.08 * u[:, 0, 2],
        draws.uniform(Stream.SCENE, 1, (40,)),
    )


def allowed(all_pairs: bool) -> Tensor:
    """Colours that each shape may have, int64 [shapes, colours], -1 in the place of none."""
    table = torch.full((len(v.SHAPES), len(v.COLOURS)), -1)
    for i, shape in enumerate(v.SHAPES):
        may = [
            k
            for k, colour in enumerate(v.COLOUR_NAMES)
            if all_pairs or (shape, colour) not in v.HELD_OUT
        ]
        table[i, : len(may)] = torch.tensor(may)
    return table


def _pick(u: Tensor, law: tuple[float, ...]) -> Tensor:
    """Numbers 0 .. len(law) - 1 of these probabilities."""
    ends = torch.tensor(law, dtype=torch.float64).cumsum(0)[:-1]
    return torch.bucketize(u.contiguous(), ends)


def _placed(draws: Draws, radius: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Centres x, y [N, OBJECTS]: uniform where objects are within the picture and apart."""
    at = draws.uniform(Stream.SCENE, 2, (TRIES, 2, v.OBJECTS))
    low, high = radius, v.SIDE - 1 - radius
    at = low[:, None, None] + (high - low)[:, None, None] * at
    good = torch.ones(len(radius), TRIES, dtype=torch.bool)
    for i in range(v.OBJECTS):
        for j in range(i):
            distance = torch.hypot(*(at[..., i] - at[..., j]).unbind(-1))
            apart = distance >= (radius[:, i] + radius[:, j] + v.GAP)[:, None]
            good &= apart | (count <= i)[:, None]
    first = good.long().argmax(1)
    at = at[torch.arange(len(at)), first]
    at = torch.where(good.any(1)[:, None, None], at, torch.tensor(CORNERS, dtype=at.dtype).T)
    return at[:, 0], at[:, 1]
