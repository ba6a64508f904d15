"""What a sampler made, for a notebook and for a folder."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sde_diffusion import Samples, evaluate, wrap
from sde_diffusion.errors import DivergedError, InputError
from sde_diffusion.images.names import file_name
from tests.refusals import refused

TOY = wrap(lambda x, sigma: x / (1 + sigma**2), shape=(1, 8, 8))


def classes(x: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
    """Images of class c are all grey, -1 + c / 2."""
    return torch.zeros_like(x) + (label.reshape(-1, 1, 1, 1) / 2 - 1)


GREYS = wrap(classes, (3, 8, 8), classes=4)


def pixels(picture: Image.Image) -> Any:
    return np.asarray(picture)


def test_pictures_and_sheet_are_the_images() -> None:
    drawn = GREYS.sample(n=5, nfe=4, label=[0, 1, 2, 3, 0])
    assert [pixels(p).shape for p in drawn.pictures] == [(8, 8, 3)] * 5
    for picture, image in zip(drawn.pictures, drawn.images, strict=True):
        assert (pixels(picture) == image.permute(1, 2, 0).numpy()).all()
    sheet = drawn.grid(columns=5)
    assert sheet.size == (8 * (5 * 9 - 1), 8 * 8)
    greys = [int(pixels(sheet)[4, 4 + 72 * k, 0]) for k in range(5)]
    assert greys == pytest.approx([0, 63.75, 127.5, 191.25, 0], abs=1)
    assert (pixels(TOY.sample(n=1, nfe=2).pictures[0])).shape == (8, 8)


def test_labels_and_seeds_are_those_of_the_rows() -> None:
    drawn = GREYS.sample(seeds=[7, 3, 11], nfe=2, label="all", batch_size=2)
    assert (drawn.seeds, drawn.labels) == ((7, 3, 11), (3, 3, 3))
    assert GREYS.sample(n=2, nfe=2).labels is None
    assert TOY.sample(n=2, nfe=2).labels is None


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    drawn = GREYS.sample(n=12, nfe=4, label="all", seed=5)
    where = drawn.save(tmp_path / "out")
    names = sorted(path.name for path in where.iterdir())
    assert names[:2] == ["00000-seed5-class1.png", "00001-seed6-class2.png"]
    assert len(names) == 12
    with Image.open(where / names[3]) as picture:
        assert (pixels(picture) == drawn.images[3].permute(1, 2, 0).numpy()).all()
    with Image.open(tmp_path / "out" / "sheet.png") as sheet:
        assert (pixels(sheet) == pixels(drawn.grid())).all()
    assert drawn.save(tmp_path / "out") == where  # again, as they were
    assert evaluate(where, reference=drawn, metrics=())[0]["fd"] == pytest.approx(0, abs=1e-6)
    with pytest.raises(InputError, match=r"images holds others, 00000-seed5-class1\.png"):
        GREYS.sample(n=2, nfe=4).save(tmp_path / "out")
    TOY.sample(n=1, nfe=2).save(tmp_path / "one")
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["images"]
    with refused("folder='': give a path"):
        drawn.save("")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="not written"):
        drawn.save(tmp_path / "file")


def test_print_is_one_line() -> None:
    drawn = TOY.sample(n=3, nfe=4)
    assert str(drawn) == repr(drawn)
    assert str(drawn).startswith("Samples(3 of 1 x 8 x 8, seeds 0 .. 2, 4 evaluations each, ")
    for seeds, said in (([4], "seed 4,"), ([3, 14], "seeds 3, 14,"), (range(0, 40, 2), "10, ...,")):
        line = str(TOY.sample(seeds=list(seeds), nfe=2))
        assert said in line
        assert "\n" not in line


def test_a_notebook_shows_the_sheet_or_else_the_line() -> None:
    drawn = TOY.sample(n=130, nfe=2)
    shown = drawn._repr_png_()
    assert shown is not None
    with Image.open(io.BytesIO(shown)) as picture:
        assert picture.size == drawn_size(10)
    cloud = wrap(lambda x, sigma: x / (1 + sigma**2), (2,)).sample(n=50, nfe=4)
    assert cloud._repr_png_() is not None
    latents = wrap(lambda x, sigma: x / (1 + sigma**2), (4, 8, 8)).sample(n=2, nfe=2)
    assert latents._repr_png_() is None
    broken = replace(drawn, x=drawn.x * float("nan"))
    assert broken._repr_png_() is None
    with pytest.raises(DivergedError):
        broken.grid()


def drawn_size(columns: int) -> tuple[int, int]:
    """Of a sheet of 8 x 8 images, one pixel apart, magnified eight times."""
    return (8 * (9 * columns - 1), 8 * (9 * columns - 1))


@pytest.mark.parametrize("shape", [(2,), (4, 8, 8), (2, 8, 8)])
def test_what_is_no_picture_says_so(shape: tuple[int, ...], tmp_path: Path) -> None:
    drawn = Samples(torch.zeros(3, *shape), (0, 1, 2), 1.0, 0.0)
    with pytest.raises(InputError, match=r"no pictures of 1 or 3 channels; take x"):
        drawn.save(tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("n", [1, 16, 100_000, 100_001, 10_000_000])
def test_pictures_sorted_by_name_are_sorted_by_row(n: int) -> None:
    rows = sorted({0, n // 2, n - 1, *(k for k in (9, 99_999, 100_000) if k < n)})
    names = [file_name(k, n, 3, None) for k in rows]
    assert sorted(names) == names
    assert names[0].partition("-")[0] == "0" * max(5, len(str(n - 1)))
