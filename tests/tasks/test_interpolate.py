"""``interpolate`` takes the pictures that the model draws, in whatever channels they are stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.conftest import Run

WORDS = ("interpolate", "checkpoint=tiny.safetensors", "pairs=1", "steps=2", "error=0.5")


def test_grey_in_colours_is_grey_and_colours_are_named(
    quick_cli: Run, tmp_path: Path, tiny_model: str
) -> None:
    rng = np.random.default_rng(0)
    for name, channels in (("grey", 1), ("colours", 3)):
        (tmp_path / name).mkdir()
        for k in range(2):
            pixels = rng.integers(0, 256, (8, 8, channels), dtype=np.uint8)
            shown = np.broadcast_to(pixels, (8, 8, 3))
            Image.fromarray(np.ascontiguousarray(shown)).save(tmp_path / name / f"{k}.png")
    quick_cli(*WORDS, "images=grey", "hydra.run.dir=out")
    with np.load(tmp_path / "out" / "interpolation.npz") as file:
        assert file["images"].shape == (1, 2, 8, 8, 1)
    refused = quick_cli(*WORDS, "images=colours", ok=False).stderr
    assert "images=colours: 3 channels, and what the model draws has 1; give grey images" in refused
