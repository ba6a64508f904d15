"""``calibrate`` as it is typed: a file that samples, a rerun that goes on, refusals of one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sde_diffusion.solvers.calibrated.file import Calibration
from tests.conftest import Run

QUICK = ["calibrate", "nfe=[2,3]", "noises=8", "held_out=4", "budget=4", "nodes=8", "tries=4",
         "hydra.run.dir=out"]  # fmt: skip


def test_a_calibration_is_made_resumed_and_used(quick_cli: Run, tmp_path: Path) -> None:
    printed = quick_cli(*QUICK).stdout
    path = tmp_path / "out" / "calibration.safetensors"
    for word in ("NFE 2", "NFE 3", "best standard", "ratio", "solver=calibrated solver.path="):
        assert word in printed
    made = Calibration.load(path)
    assert sorted(made.rules) == [2, 3]
    assert made.conditional
    assert made.shape == (1, 28, 28)
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert set(result["held_out"]) == {"2", "3"}
    assert result["held_out"]["2"]["standard"]
    assert result["model_fingerprint"] == made.model
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "parts").iterdir()}
    content = path.read_bytes()
    (tmp_path / "out" / "calibration.safetensors").unlink()
    quick_cli(*QUICK, "nfe=[2]")
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "parts").iterdir()} == before
    assert sorted(Calibration.load(path).rules) == [2]
    rule = Calibration.load(path).rules[2]
    damaged = [part for part in before if "rule3" not in part.name]
    for part in damaged:  # a bit is flipped
        whole = part.read_bytes()
        part.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    again = quick_cli(*QUICK, "nfe=[2]").stderr
    assert all(f"{part.name}: not usable" in again for part in damaged)
    assert torch.equal(Calibration.load(path).rules[2].weights, rule.weights)
    path.write_bytes(content)
    given = ["solver=calibrated", f"solver.path={path}", "n=2"]
    quick_cli("sample", *given, "nfe=3", "label=all", "hydra.run.dir=drawn")
    assert json.loads((tmp_path / "drawn" / "result.json").read_text())["nfe"] == 3
    for words, line in (
        (["nfe=4", "label=all"], "give one of [2, 3]"),
        (["nfe=3", "label=null"], "label=all"),
        (["nfe=6", "label=all", "guidance=cfg"], "made for model"),
    ):
        done = quick_cli("sample", *given, *words, "hydra.run.dir=no", ok=False)
        assert line in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    quick_cli("sample", *given, "nfe=6", "label=all", "guidance=cfg",
              "solver.allow_other_model=true", "hydra.run.dir=guided")  # fmt: skip


def test_a_twin_of_the_data_stands_for_the_network(quick_cli: Run, tmp_path: Path) -> None:
    """Images of the wrong shape are refused; those of digits are not MNIST's."""
    done = quick_cli(*QUICK, "twin=3", "data=digits", ok=False)
    assert "data: images (1, 8, 8), not (1, 28, 28)" in done.stderr
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (100, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", images=images, labels=np.arange(100) % 10)
    words = ["twin=1", "data=npz", f"data.path={tmp_path / 'x.npz'}"]
    quick_cli(*QUICK, *words, "nfe=[4]", "guidance=cfg")
    made = Calibration.load(tmp_path / "out" / "calibration.safetensors")
    assert made.conditional
    assert made.normal.labels.tolist() == []  # twelve noises are too few for ten classes
    quick_cli("sample", "solver=calibrated", "solver.path=out/calibration.safetensors", "n=2",
              "nfe=4", "label=3", "guidance=cfg", "hydra.run.dir=drawn")  # fmt: skip


@pytest.mark.parametrize(
    ("word", "line"),
    [("nfe=[1]", "nfe=1"), ("nfe=[]", "nfe=[]"), ("nodes=4", "nodes=4"), ("mode=bands", "mode="),
     ("guidance=cfg nfe=[5]", "nfe=5"), ("name=a/b", "name=a/b"), ("noises=1", "noises=1"),
     ("sigma_min=1e-5", "sigma_min=1e-05"), ("label=11", "label=11")],
)  # fmt: skip
def test_a_wrong_input_is_one_line(quick_cli: Run, word: str, line: str) -> None:
    done = quick_cli(*QUICK, *word.split(), ok=False)
    assert line in done.stderr
    # Some keys are those of QUICK, a second time.
    assert len([each for each in done.stderr.splitlines() if "given too" not in each]) == 1
