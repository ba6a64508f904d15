"""The extractor task: it writes an extractor, its reference and a result that load again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sde_diffusion.data import digits
from sde_diffusion.metrics.extractors import CnnExtractor
from sde_diffusion.metrics.reference import ReferenceSet
from sde_diffusion.tasks.extractor import train_extractor
from tests.conftest import Run


def test_train_extractor_writes_both_files(tmp_path: Path) -> None:
    train, test = digits("train"), digits("test")
    made, reference, accuracy = train_extractor(
        train, test, tmp_path, name="eights", epochs=6, dim=8, seed=0
    )
    assert accuracy > 0.7
    again = CnnExtractor(str(tmp_path / "eights.safetensors"))
    assert again.fingerprint == made.fingerprint
    known = ReferenceSet.load(tmp_path / "eights-reference.safetensors", again)
    assert (known.stats.n, len(known.held_out)) == (1500, 297)
    # The held-out images are all there, in an order of their own.
    plain = again(test.images).half()
    assert not known.held_out.equal(plain)
    assert known.held_out.double().sum(0).tolist() == pytest.approx(
        plain.double().sum(0).tolist(), abs=1e-2
    )
    assert reference.extractor_fingerprint == made.fingerprint


def test_the_command(quick_cli: Run, tmp_path: Path) -> None:
    words = ("extractor", "data=digits", "name=d", "epochs=1", "dim=4", "hydra.run.dir=out")
    quick_cli(*words)
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["format"] == 1
    assert 0 <= result["accuracy"] <= 1
    assert list(result["floor"]) == ["297"]
    weights = tmp_path / "out" / "d.safetensors"
    assert CnnExtractor(str(weights)).fingerprint == result["fingerprint"]
    refused = quick_cli(*words, "epochs=0", ok=False)
    assert refused.returncode != 0
    assert "epochs=0" in refused.stderr
    assert "Traceback" not in refused.stderr
