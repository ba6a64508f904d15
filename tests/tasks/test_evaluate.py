"""``evaluate``: the distance of any images to any reference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Run


def images(path: Path, level: float, n: int = 40, side: int = 28) -> str:
    rng = np.random.default_rng(0)
    pixels = np.clip(rng.normal(level, 30, (n, side, side, 1)), 0, 255).astype(np.uint8)
    np.savez(path, images=pixels)
    return str(path)


def evaluate(cli: Run, folder: Path, *words: str) -> dict[str, Any]:
    cli("evaluate", "hydra.run.dir=out", *words)
    return json.loads((folder / "out" / "result.json").read_text())


def test_distance_to_itself_is_nought_and_grows_with_the_shift(
    quick_cli: Run, tmp_path: Path
) -> None:
    real = images(tmp_path / "real.npz", 100)
    pixels = ["extractor=pixel", f"reference={real}"]
    same = evaluate(quick_cli, tmp_path, f"images={real}", *pixels)
    assert abs(same["rows"][0]["fd"]) < 1e-9
    assert same["metric"] == "FD[pixel4]"
    near = evaluate(quick_cli, tmp_path, f"images={images(tmp_path / 'a.npz', 110)}", *pixels)
    far = evaluate(quick_cli, tmp_path, f"images={images(tmp_path / 'b.npz', 150)}", *pixels)
    assert far["rows"][0]["fd"] == pytest.approx(49 * (50 / 255) ** 2, rel=0.01)  # 49 pixels by 50
    assert near["rows"][0]["fd"] < far["rows"][0]["fd"]


def test_shipped_reference_and_prefixes(quick_cli: Run, tmp_path: Path) -> None:
    found = evaluate(
        quick_cli, tmp_path, f"images={images(tmp_path / 'a.npz', 100)}", "samples=[10,40]"
    )
    assert found["metric"] == "FD[mnist-cnn]"
    assert [row["samples"] for row in found["rows"]] == [10, 40]
    assert found["reference_n"] == 60000


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("", "images: required"),
        ("images=nosuch.zip", "images=nosuch.zip"),
        ("images=small.npz", "(1, 28, 28)"),
        ("images=a.npz samples=[99]", "samples=[99]"),
        ("images=a.npz reference=nosuch.zip", "reference=nosuch.zip"),
        ("images=a.npz reference=small.npz", "(1, 8, 8)"),
    ],
)
def test_wrong_input_is_one_line(quick_cli: Run, tmp_path: Path, words: str, named: str) -> None:
    images(tmp_path / "a.npz", 100)
    images(tmp_path / "small.npz", 100, side=8)
    done = quick_cli("evaluate", "hydra.run.dir=out", *words.split(), ok=False)
    assert done.returncode != 0
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out" / "result.json").exists()
