"""A cache, a tracker or a picture that cannot be written ends no job: its result is there, the
status is 0, and one line says what was left out."""

from __future__ import annotations

import errno
import json
import os
import sys
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sde_diffusion.system.tracking import CsvTracker
from tests.conftest import Run

SAMPLE = ("sample", "n=2", "nfe=2", "animation=true", "hydra.run.dir=out")
TRAIN = (
    "train", "data=digits", "network=unet_small", "network.widths=[8]", "network.blocks=1",
    "network.embedding=8", "network.attention=[]", "steps=3", "batch_size=4", "save_every=1",
    "warmup=0", "hydra.run.dir=out",
)  # fmt: skip


def lines(printed: str, word: str) -> list[str]:
    """Those of the lines that speak of it."""
    return [line for line in printed.splitlines() if word in line]


@pytest.mark.parametrize("name", ["grid.png", "animation.webp"])
def test_a_picture_whose_place_is_taken(quick_cli: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / "out" / name).mkdir(parents=True)
    done = quick_cli(*SAMPLE, f"checkpoint={_tiny(tmp_path)}")
    assert len(np.load(tmp_path / "out" / "samples.npz")["images"]) == 2
    json.loads((tmp_path / "out" / "result.json").read_text())
    (line,) = lines(done.stderr, "left out")
    assert line.startswith(f"{name}: left out ([Errno 21] Is a directory")


def test_a_disk_that_is_full_for_pictures(
    quick_cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = os.fsync

    def full(file: int) -> None:
        if ".webp" in os.readlink(f"/proc/self/fd/{file}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        written(file)

    monkeypatch.setattr("os.fsync", full)
    done = quick_cli(*SAMPLE, f"checkpoint={_tiny(tmp_path)}")
    assert lines(done.stderr, "left out") == [
        "animation.webp: left out ([Errno 28] No space left on device)"
    ]
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {
        "grid.png", "result.json", "samples.npz"
    }  # fmt: skip


def test_a_tracker_that_fails_in_the_middle(
    quick_cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, calls = CsvTracker._write, count(1)

    def failing(self: CsvTracker) -> None:
        if next(calls) == 2:
            raise ConnectionError("gone")
        written(self)

    monkeypatch.setattr(CsvTracker, "_write", failing)
    done = quick_cli(*TRAIN, "tracker=csv")
    (line,) = lines(done.stderr, "tracker: ")
    assert line.startswith("tracker: gone; the run goes on")
    assert (tmp_path / "out" / "model.safetensors").is_file()
    rows = (tmp_path / "out" / "metrics.csv").read_text().splitlines()
    assert [row.partition(",")[0] for row in rows] == ["step", "1", "2", "3"]


@pytest.mark.parametrize(
    "words",
    [
        ("compare", "solvers=[ddim]", "nfe=[2]", "samples=[4]", "reference=a.npz", "metric=[]"),
        ("analyse", "data=npz", "data.path=a.npz", "solvers=[ddim]", "nfe=[4]"),
    ],
)
def test_a_library_of_figures_that_fails(
    quick_cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    loaded = [name for name in sys.modules if name.startswith("matplotlib.")]
    for name in ("matplotlib", "matplotlib.figure", *loaded):
        monkeypatch.setitem(sys.modules, name, None)
    model = (f"checkpoint={_tiny(tmp_path)}", "extractor=pixel") if words[0] == "compare" else ()
    _images(tmp_path)
    done = quick_cli(*words, *model, "hydra.run.dir=out")
    (line,) = lines(done.stderr, "left out")
    assert "matplotlib" in line
    assert list((tmp_path / "out").glob("*.json"))


@pytest.mark.parametrize("cache", ["/dev/null/x", "a" * 300])
def test_a_cache_that_cannot_be(
    quick_cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: str
) -> None:
    monkeypatch.setenv("SDE_DIFFUSION_CACHE", cache)
    _images(tmp_path)
    done = quick_cli(
        "evaluate", "images=a.npz", "reference=a.npz", "extractor=pixel", "metric=[]",
        "hydra.run.dir=out",
    )  # fmt: skip
    (line,) = lines(done.stderr, "left out")
    assert line.startswith("reference kept in the cache: left out (")
    assert len(lines(done.stderr, "reference=a.npz: ")) == 1  # read once
    assert json.loads((tmp_path / "out" / "result.json").read_text())["rows"][0]["fd"] is not None


def _images(folder: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 1), dtype=np.uint8)
    np.savez(folder / "a.npz", images=pixels)


def _tiny(folder: Path) -> Any:
    from tests.tiny_model import write_tiny

    write_tiny(folder / "tiny.safetensors", classes=10)
    return "tiny.safetensors"
