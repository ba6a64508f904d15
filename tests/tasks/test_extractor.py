"""The extractor task: it writes an extractor, its reference and a result that load again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sde_diffusion.data import Digits
from sde_diffusion.metrics.extractors import CnnExtractor
from sde_diffusion.metrics.reference import ReferenceSet
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
    assert known.data_fingerprint == Digits("train").load().fingerprint
    assert known.held_out_fingerprint == Digits("test").load().fingerprint
    # The same command keeps the weights that are there.
    before = weights.stat().st_mtime_ns
    quick_cli(*words, "seed=0")
    assert weights.stat().st_mtime_ns == before
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "d.safetensors: not usable" in quick_cli(*words).stderr
    assert weights.read_bytes() == whole


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
