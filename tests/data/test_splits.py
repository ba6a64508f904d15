"""What is held out of data: the same rows each time, none twice, none lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sde_diffusion.config.compose import compose_task
from sde_diffusion.data import Digits
from sde_diffusion.data.splits import both_splits, fixed_order, without
from sde_diffusion.errors import InputError


def test_a_prefix_of_the_fixed_order_is_a_fair_sample() -> None:
    """Of rows sorted by class, 10 x 100, the first 100 hold each class about ten times."""
    order = fixed_order(1000)
    assert torch.equal(order, fixed_order(1000))
    assert order.sort().values.tolist() == list(range(1000))
    counts = (order[:100] // 100).bincount(minlength=10)
    assert int(counts.min()) >= 3  # each is 10 +- 2.8
    kept, out = without(Digits("test").load(), 40)
    assert (len(kept), len(out)) == (257, 40)


def test_data_without_splits_hold_a_tenth_out(tmp_path: Path) -> None:
    """No row is in both parts, none is lost, and the parts are the same each time."""
    level = np.arange(30, dtype=np.uint8)
    np.savez(tmp_path / "x.npz", images=np.broadcast_to(level[:, None, None], (30, 4, 4)))
    config = compose_task(["task=extractor", "data=npz", f"data.path={tmp_path / 'x.npz'}"])
    data, held_out = both_splits(config)
    assert (len(data), len(held_out)) == (27, 3)
    both = torch.cat([data.images, held_out.images])[:, 0, 0, 0]
    assert sorted(both.tolist()) == level.tolist()
    assert torch.equal(both_splits(config)[1].images, held_out.images)
    np.savez(tmp_path / "x.npz", images=np.zeros((1, 4, 4), np.uint8))
    with pytest.raises(InputError, match="one must be held out"):
        both_splits(config)


def test_a_folder_is_split_by_its_subfolders_or_by_chance(tmp_path: Path) -> None:
    for k in range(12):
        folder = tmp_path / "all" / ("train" if k < 8 else "test") / "cat"
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), k).save(folder / f"{k:02}.png")
    base = ["task=extractor", "data=folder", f"data.path={tmp_path / 'all'}", "data.grey=true"]
    data, held_out = both_splits(compose_task([*base, "data.split=train"]))
    assert (len(data), held_out.images[:, 0, 0, 0].tolist()) == (8, [8, 9, 10, 11])
    data, held_out = both_splits(compose_task(base))
    assert (len(data), len(held_out)) == (10, 2)
