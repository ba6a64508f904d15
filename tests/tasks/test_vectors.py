"""Vectors from end to end: trained on the plane, drawn, and refused where images are needed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from sde_diffusion.config.compose import compose_task
from sde_diffusion.tasks import likelihood
from tests.conftest import Run
from tests.refusals import refused

TRAIN = [
    "train", "data=toy", "network=mlp", "network.width=64", "network.blocks=2",
    "network.embedding=32", "steps=400", "save_every=400", "batch_size=128", "lr=3e-3",
    "warmup=20", "hydra.run.dir=out",
]  # fmt: skip


def test_two_moons_are_learned_and_drawn(quick_cli: Run, tmp_path: Path) -> None:
    """Samples of class 0 lie on its half circle: within 0.25 for most, chance would be few."""
    quick_cli(*TRAIN)
    with Image.open(tmp_path / "out" / "samples_400.png") as picture:
        assert picture.size == (256, 256)
    quick_cli("sample", "checkpoint=out/model.safetensors", "n=200", "label=0", "nfe=20",
              "hydra.run.dir=drawn")  # fmt: skip
    with np.load(tmp_path / "drawn" / "samples.npz") as file:
        x = file["x"]
    assert (x.shape, x.dtype) == ((200, 2), np.float32)
    from_centre = x - np.array([-0.5, -0.25])
    on = np.abs(np.linalg.norm(from_centre, axis=1) - 1) < 0.25
    assert (on & (from_centre[:, 1] > -0.25)).mean() > 0.8
    assert (tmp_path / "drawn" / "grid.png").is_file()
    said = quick_cli("sample", "checkpoint=out/model.safetensors", "animation=true", ok=False)
    assert "animation=true: this model draws vectors" in said.stderr


def test_a_likelihood_is_of_images(tmp_path: Path) -> None:
    with refused("data=two_moons-train"):
        likelihood.run(compose_task(["task=likelihood", "data=toy"]), tmp_path)


def test_vectors_are_analysed(quick_cli: Run, tmp_path: Path) -> None:
    words = ["analyse", "data=toy", "solvers=[ddim]", "grids=[karras]", "hydra.run.dir=out"]
    quick_cli(*words, "nfe=[5]")
    assert json.loads((tmp_path / "out" / "analyse.json").read_text())["provenance"]["d"] == 2
    assert "modes=dct" in quick_cli(*words, "modes=dct", ok=False).stderr
