"""What every task does alike: a result says all that it depends on, and nothing is left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from sde_diffusion.config.compose import compose_task
from sde_diffusion.errors import InputError
from sde_diffusion.system.lock import NAME
from sde_diffusion.system.tracking import NoTracker
from sde_diffusion.tasks.compare.task import CompareTask
from sde_diffusion.tasks.run import Run
from sde_diffusion.tasks.sample import SampleTask
from tests.conftest import Run as Command

WORDS = ["task=sample", "n=2", "nfe=2", "dtype=float64", "batch_size=3"]


def test_a_run_reads_its_keys_and_writes_where_it_is(tmp_path: Path) -> None:
    with Run(compose_task(WORDS), tmp_path, SampleTask) as job:
        assert (tmp_path / NAME).exists()
        assert job.task.n == 2
        assert (job.execution.batch_size, job.execution.dtype) == (3, torch.float64)
        assert job.precision == "float32"
        assert "model" not in job.provenance(None)
        job.begin("tag")
        job.result({"nfe": float("inf")})
        before = json.loads((tmp_path / "result.json").read_text())
        assert job.condition([3, 12]) is not None
        job.result({"nfe": 2.0})
    after = json.loads((tmp_path / "result.json").read_text())
    assert (before["format"], before["nfe"], after["nfe"]) == (1, None, 2.0)
    assert "model" not in before  # none had been loaded
    assert (after["model"], len(after["model_fingerprint"])) == ("mnist", 16)
    assert after["config"]["batch_size"] == 3
    assert {"revision", "date", "machine"} <= set(after)
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.parametrize(
    ("word", "named"),
    [
        ("dtype=half", "dtype=half"),
        ("precision=half", "precision=half"),
        ("device=nowhere", "device=nowhere"),
        ("batch_size=0", "batch_size=0"),
        ("tracker=wandb tracker.mode=loud", "tracker.mode=loud"),
    ],
)
def test_wrong_keys_are_one_line(quick_cli: Command, tmp_path: Path, word: str, named: str) -> None:
    done = quick_cli("sample", "n=1", "nfe=2", "hydra.run.dir=out", *word.split(), ok=False)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert named in line
    assert not (tmp_path / "out").exists()


def test_the_lock_goes_with_an_error(tmp_path: Path) -> None:
    @dataclass
    class Other:
        n: int

    with pytest.raises(InputError, match="unknown key here"):
        Run(compose_task(WORDS), tmp_path, Other)
    with (
        pytest.raises(RuntimeError, match="on the way"),
        Run(compose_task(WORDS), tmp_path, SampleTask),
    ):
        raise RuntimeError("on the way")
    assert list(tmp_path.iterdir()) == []


class Broken(NoTracker):
    """A tracker of which nothing works."""

    def start(self, job: object) -> None:
        raise ConnectionError("no network")


def test_a_tracker_that_fails_costs_no_result(
    quick_cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sde_diffusion.system.tracking.CsvTracker.start", Broken.start)
    done = quick_cli("sample", "n=1", "nfe=2", "tracker=csv", "hydra.run.dir=out")
    assert done.stderr.count("no network") == 1
    assert (tmp_path / "out" / "result.json").exists()


def test_a_closed_stdout_costs_no_result(tmp_path: Path) -> None:
    """As after '| head -0': the files are there."""
    command = [sys.executable, "-m", "sde_diffusion.cli", "sample", "n=1", "nfe=2",
               "hydra.run.dir=out"]  # fmt: skip
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        command, cwd=tmp_path, stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert (tmp_path / "out" / "result.json").exists()
    assert "Traceback" not in done.stderr


def test_the_usual_extractor_takes_the_shape_of_the_model(tmp_path: Path, tiny_model: str) -> None:
    """It was told the name alone, and refused every model that is not 1 x 28 x 28."""
    words = ["task=compare", f"checkpoint={tiny_model}"]
    with Run(compose_task(words), tmp_path, CompareTask) as job:
        assert job.shape is not None
        pixels = torch.zeros(2, *job.shape, dtype=torch.uint8)
        assert job.extractor(pixels).shape == (2, job.extractor.dim)
