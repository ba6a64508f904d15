"""The extractor task: it writes an extractor, its reference and a result that load again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sde_diffusion.config.compose import compose_task
from sde_diffusion.data import digits
from sde_diffusion.errors import InputError
from sde_diffusion.metrics.extractors import CnnExtractor
from sde_diffusion.metrics.reference import ReferenceSet
from sde_diffusion.tasks.extractor import both_splits
from tests.conftest import Run


def test_the_command(quick_cli: Run, tmp_path: Path) -> None:
    words = ("extractor", "data=digits", "name=d", "epochs=1", "dim=4", "hydra.run.dir=out")
    quick_cli(*words)
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["format"] == 1
    assert 0 <= result["accuracy"] <= 1
    assert [row["samples"] for row in result["floor"]] == [297]
    weights = tmp_path / "out" / "d.safetensors"
    made = CnnExtractor(str(weights))
    assert made.fingerprint == result["fingerprint"]
    known = ReferenceSet.load(tmp_path / "out" / "d-reference.safetensors", made)
    assert (known.stats.n, len(known.features), len(known.held_out)) == (1500, 1500, 297)
    assert known.data_fingerprint == digits("train").fingerprint
    assert known.held_out_fingerprint == digits("test").fingerprint
    # The same command keeps the weights that are there.
    before = weights.stat().st_mtime_ns
    quick_cli(*words, "seed=0")
    assert weights.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("epochs=0", "epochs=0"),
        ("dim=many", "dim=many: give a whole number"),
        ("keep=0", "keep=0"),
        ("name=../up", "name=../up: use letters"),
        ("architecture=wide", "architecture=wide: choose one of"),
        ("precision=half", "precision=half: choose one of"),
        ("data.split=all", "data.split=all"),
        ("data=npz data.path=nosuch.npz", "data.path=nosuch.npz"),
        ("teacher=none", "teacher: unknown key"),
    ],
)
def test_wrong_input_is_one_line(quick_cli: Run, tmp_path: Path, words: str, named: str) -> None:
    base = ("extractor", "data=digits", "name=d", "epochs=1", "dim=4", "hydra.run.dir=out")
    done = quick_cli(*base, *words.split(), ok=False)
    assert done.returncode != 0
    assert named in done.stderr
    assert len(done.stderr.strip().splitlines()[-1:]) == 1
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out" / "result.json").exists()


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
