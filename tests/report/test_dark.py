"""A plot for dark pages is the plot, in other colours."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from sde_diffusion.report.style import DARK, PALETTE, PAPER, Plot, log_axes, look, new_figure


def colours(png: bytes) -> set[str]:
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).reshape(-1, 3)
    return {f"#{r:02x}{g:02x}{b:02x}" for r, g, b in np.unique(pixels, axis=0)}


def test_every_colour_has_its_partner_and_comes_back() -> None:
    assert len(set(DARK.values())) == len(DARK)
    assert not set(DARK) & set(DARK.values())
    plot = Plot("x", new_figure(2.0))
    axes = plot.figure.add_axes((0.15, 0.2, 0.8, 0.7))
    log_axes(axes, [1, 10], [1, 10])
    for i in range(len(PALETTE)):
        axes.plot([1, 10], [1 + i, 2 + i], **look(i), linewidth=4)
    light = plot.file("png")
    dark = colours(plot.dark)
    assert set(PALETTE) <= colours(light)
    assert set(PALETTE.values()) <= dark
    assert not {*PALETTE, PAPER} & dark  # lines are broad: some of their pixels are of no mixture
    assert plot.file("png") == light
