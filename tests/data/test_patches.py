"""Patches: parts of the pictures, the same ones each time, none of them held out and trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sde_diffusion import Patches
from tests.refusals import refused


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    """Two pictures whose pixel says where it is."""
    rows, columns = np.mgrid[0:32, 0:64]
    Image.fromarray((4 * columns).astype(np.uint8)).save(tmp_path / "a.png")
    Image.fromarray((8 * rows).astype(np.uint8)).save(tmp_path / "b.png")
    Image.fromarray(np.stack([rows, columns, rows], 2).astype(np.uint8)).save(tmp_path / "c.png")
    return [str(tmp_path / name) for name in ("a.png", "b.png", "c.png")]


def test_patches_are_parts_and_the_right_quarter_is_held_out(pictures: list[str]) -> None:
    train, test = (Patches(pictures[0], size=8, n=200, split=s).load() for s in ("train", "test"))
    assert train.images.shape == (200, 1, 8, 8)
    assert (train.images[..., 1:] - train.images[..., :-1] == 4).all()
    assert int(train.images.max()) == 4 * 47  # the columns of the split reach its border
    assert int(test.images.min()) == 4 * 48
    assert train.labels is None
    assert len(train.images.flatten(1).unique(dim=0)) > 30
    few = Patches(pictures[0], size=8, n=5).load()
    assert torch.equal(few.images, train.images[:5])


def test_labels_say_the_picture_and_colours_are_kept(pictures: list[str]) -> None:
    two = Patches(pictures[:2], size=8, n=10).load()
    assert two.class_names == ("a", "b")
    assert (
        two.images[two.labels == 1][:, :, :, 0] == two.images[two.labels == 1][:, :, :, 7]
    ).all()
    three = Patches(pictures, size=8, n=6).load()
    assert three.images.shape == (6, 3, 8, 8)
    assert (three.images[0, 0] == three.images[0, 2]).all()  # grey, in three channels
    half = Patches(pictures[1], size=8, n=10, scale=0.5).load()
    slopes = (half.images[:, :, 3:6] - half.images[:, :, 2:5]).float()
    assert slopes.mean().item() == pytest.approx(16, abs=1)


def test_what_cannot_be_cut_is_refused(pictures: list[str]) -> None:
    with refused("data.size=20", "smaller"):
        Patches(pictures[0], size=20, split="test").load()
    with refused("data.path=nosuch.png"):
        Patches("nosuch.png").load()
    with refused("data.path=[]", "give"):
        Patches([]).load()
    with refused("data.path: two pictures", "rename"):
        Patches([pictures[0], pictures[0]], size=8).load()
    with refused("data.grey=true", "colours"):
        Patches(pictures, size=8, grey=True).load()
    for fields in ({"scale": 2.0}, {"split": "all"}, {"n": 0}, {"size": 2}):
        with refused("data."):
            Patches(pictures[0], **fields)  # type: ignore[arg-type]
