"""Does the denoiser know which shape is of which colour? Sentences with their shapes exchanged."""

from __future__ import annotations

import torch
from torch import Tensor

from sde_diffusion import load
from sde_diffusion.data.shapes import vocabulary as v
from sde_diffusion.data.shapes.render import pictures
from sde_diffusion.data.shapes.scenes import Scenes, scenes
from sde_diffusion.face.model import Model
from sde_diffusion.images.pixels import to_float

SCENES, LEVELS = 256, (1, 2, 3, 5, 8)
Z = 1.96


def told_apart() -> tuple[Tensor, Scenes]:
    """Scenes of two objects of other shapes and other colours, and which of all drawn they are."""
    drawn = scenes(33, range(5 * SCENES), False, 2)
    first, second = drawn.shape[:, 0] != drawn.shape[:, 1], drawn.colour[:, 0] != drawn.colour[:, 1]
    return (first & second).nonzero()[:SCENES, 0], drawn


def said(drawn: Scenes, rows: Tensor, exchanged: bool) -> list[str]:
    """``a red circle and a blue square``; ``exchanged``: a red square and a blue circle."""
    texts = []
    for row in rows.tolist():
        a, b = (v.SHAPES[k] for k in drawn.shape[row, :2].tolist())
        red, blue = (v.COLOUR_NAMES[k] for k in drawn.colour[row, :2].tolist())
        if exchanged:
            a, b = b, a
        texts.append(f"a {red} {a} and a {blue} {b}")
    return texts


@torch.no_grad()
def exchanged(checkpoint: str) -> list[list[float]]:
    """Of each level: the level, the mean square error of a picture, and by how much more it is when
    the sentence has its shapes exchanged, with the half width of its 95 % interval."""
    model: Model = load(checkpoint)
    rows, drawn = told_apart()
    x_0 = to_float(pictures(drawn)[0][rows])
    found = []
    for level in LEVELS:
        noise = torch.randn(x_0.shape, generator=torch.Generator().manual_seed(10 * level))
        sigma = torch.full((len(rows),), float(level))
        errors = []
        for swapped in (False, True):
            wishes = {"prompt": said(drawn, rows, swapped)}
            cond = model.condition(wishes, list(range(len(rows))))
            denoised = model.denoiser(x_0 + level * noise, sigma, cond)
            errors.append((denoised - x_0).square().flatten(1).sum(1))
        cost = errors[1] - errors[0]
        half = Z * float(cost.std()) / len(cost) ** 0.5
        found.append([level, float(errors[0].mean()), float(cost.mean()), half])
    return found
