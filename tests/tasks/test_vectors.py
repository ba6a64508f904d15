"""Vectors from end to end: trained on the plane, drawn, and refused where images are needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sde_diffusion.config.compose import compose_task
from sde_diffusion.errors import InputError
from sde_diffusion.tasks import analyse, likelihood
from tests.conftest import Run

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


@pytest.mark.parametrize("task", [analyse, likelihood])
def test_tasks_for_images_refuse_vectors(tmp_path: Path, task: object) -> None:
    name = task.__name__.rsplit(".", 1)[-1]  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=r"^data=two_moons-train: holds vectors"):
        task.run(compose_task([f"task={name}", "data=toy"]), tmp_path)  # type: ignore[attr-defined]
