"""``sample``: more pixels than an archive should hold are a PNG an image, and the same pictures."""

from __future__ import annotations

import io
import json
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sde_diffusion.data.folder import image_folder
from sde_diffusion.data.load import load_images
from sde_diffusion.images.names import file_name, labels_of
from sde_diffusion.tasks import sample
from tests.conftest import Run


def test_many_pixels_are_a_zip_of_pictures(
    quick_cli: Run, tmp_path: Path, tiny_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named by row, seed and class, in the order of the rows, and read again as samples.npz is."""
    words = ["sample", f"checkpoint={tiny_model}", "seeds=[9,3,12]", "label=[2,0,1]", "nfe=2",
             "batch_size=2"]  # fmt: skip
    quick_cli(*words, "hydra.run.dir=array")
    monkeypatch.setattr(sample, "run", partial(sample.run, archived=3 * 64 - 1))
    quick_cli(*words, "hydra.run.dir=pictures")
    assert not (tmp_path / "pictures" / "samples.npz").exists()
    with zipfile.ZipFile(tmp_path / "pictures" / "samples.zip") as archive:
        names = archive.namelist()
        pixels = [np.array(Image.open(io.BytesIO(archive.read(name)))) for name in names]
    assert names == [
        f"0000{k}-seed{s}-class{c}.png" for k, s, c in ((0, 9, 2), (1, 3, 0), (2, 12, 1))
    ]
    with np.load(tmp_path / "array" / "samples.npz") as arrays:
        assert np.array_equal(np.stack(pixels), arrays["images"][..., 0])

    def judged(folder: str) -> Any:
        sides = ["extractor=pixel", "extractor.height=8", "extractor.width=8"]
        quick_cli("evaluate", f"images={folder}", "reference=digits", "metric=[]", *sides,
                  f"hydra.run.dir=of-{folder}")  # fmt: skip
        return json.loads((tmp_path / f"of-{folder}" / "result.json").read_text())["rows"]

    # The floor has as many images of each class: so their classes must be known.
    assert judged("pictures") == judged("array")


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["00000-seed9-class2.png", "00001-seed3-class0.png"], [2, 0]),
        (["00000-seed9-class2.png", "00001-seed3.png"], None),  # one is of no class
        (["00000-seed9-class2.png", "holiday-class0.png"], None),
        (["1-seed9-class2.png"], None),
    ],
)
def test_classes_are_read_off_names_of_ours_alone(
    names: list[str], labels: list[int] | None, tmp_path: Path
) -> None:
    assert labels_of(names) == labels
    for name in names:
        Image.new("L", (4, 4)).save(tmp_path / name)
    judged = load_images(str(tmp_path), "images")
    assert (None if judged.labels is None else judged.labels.tolist()) == labels
    assert judged.labels_set == (labels is not None)
    trained = image_folder(str(tmp_path))  # a training says itself what it is conditioned on
    assert trained.labels is None


def test_names_are_those_that_are_written() -> None:
    assert labels_of([file_name(k, 2, 7, label) for k, label in ((0, 3), (1, 12))]) == [3, 12]
