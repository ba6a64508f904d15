"""Several processes are one run: the numbers of one process, one folder, and no hanging."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sde_diffusion.cli import with_task
from tests.refusals import refused
from tests.training.ranks import CONFIGS, DEATH, STEPS, losses, run
from tests.training.small import tensors

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 120


def environment(**more: str) -> dict[str, str]:
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    alone = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # two threads warn of strides
    return {**os.environ, **alone, "PYTHONPATH": os.pathsep.join(paths), **more}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two processes, of which one died in the first run and torchrun started both anew."""
    folder = tmp_path_factory.mktemp("two")
    words = ["--standalone", "--nproc_per_node", "2", "--max-restarts", "1"]
    script = [str(ROOT / "tests" / "training" / "ranks.py"), str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *words, *script],
        env=environment(), capture_output=True, text=True, timeout=LIMIT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[float]]]:
    """The same runs of one process, and their losses."""
    folder = tmp_path_factory.mktemp("one")
    return folder, {name: losses(folder, name) for name in CONFIGS}


@pytest.mark.parametrize("name", ["ddp", "fsdp"])
def test_two_processes_have_the_numbers_of_one(
    two: Path, one: tuple[Path, dict[str, list[float]]], name: str
) -> None:
    """All that 50 steps (20 of FSDP) made: weights, momenta, averages, the weighting, the best."""
    ours, theirs = tensors(one[0] / name), tensors(two / name)
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        assert torch.allclose(value, theirs[key], rtol=0, atol=1e-8), key
    moved = run(one[0] / "new", CONFIGS[name]).state.tensors()["model.head.weight"]
    assert float((ours["model.head.weight"] - moved).abs().max()) > 1e-3
    found = json.loads((two / "losses.json").read_text())[name]
    assert found == pytest.approx(one[1][name][-len(found) :], abs=1e-8)


def test_the_losses_of_two_processes_in_single_precision(
    two: Path, one: tuple[Path, dict[str, list[float]]]
) -> None:
    found = json.loads((two / "losses.json").read_text())["float32"]
    assert found == pytest.approx(one[1]["float32"], abs=1e-3)


def test_a_run_whose_process_died_went_on_from_its_last_checkpoint(two: Path) -> None:
    found = json.loads((two / "losses.json").read_text())
    assert len(found["ddp"]) == STEPS - DEATH // 10 * 10


def test_one_process_goes_on_with_a_run_of_two(two: Path) -> None:
    """The state in a checkpoint is that of the whole run, however it was spread."""
    resumed = run(two / "fsdp", CONFIGS["fsdp"])
    assert resumed.step == 20
    both = [f"step-{step:08d}-ema-{w}.safetensors" for step in (10, 20) for w in ("0.05", "0.1")]
    assert sorted(path.name for path in (two / "fsdp" / "snapshots").iterdir()) == both


def launch(folder: Path, words: list[list[str]]) -> list[tuple[int, str, str]]:
    """The command line as rank 0, 1, ..., each with its words, and nobody to end the others."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = str(s.getsockname()[1])
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "sde_diffusion.cli", *own], cwd=folder,
            env=environment(RANK=str(i), LOCAL_RANK=str(i), WORLD_SIZE=str(len(words)),
                            MASTER_ADDR="127.0.0.1", MASTER_PORT=port),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for i, own in enumerate(words)
    ]  # fmt: skip
    try:
        ended = [process.communicate(timeout=LIMIT) for process in started]
    finally:
        for process in started:
            process.kill()
    return [(p.returncode, out, err) for p, (out, err) in zip(started, ended, strict=True)]


TRAIN = [
    "train", "experiment=digits", "network.widths=[8,8]", "network.embedding=16",
    "steps=2", "batch_size=8", "warmup=1", "tracker=csv", "hydra.run.dir=out/${now:%H%M%S%f}",
]  # fmt: skip


def test_there_is_one_folder_and_one_writer(tmp_path: Path) -> None:
    done = launch(tmp_path, [TRAIN, TRAIN])
    assert [code for code, _, _ in done] == [0, 0], done
    (folder,) = (tmp_path / "out").iterdir()
    assert {"checkpoint.safetensors", "model.safetensors", "metrics.csv", "samples_2.png"} <= {
        path.name for path in folder.iterdir()
    }
    assert "\nvalidation loss" in done[0][1]
    assert done[1][1:] == ("", "")  # rank 1 has nothing to say


def test_a_failure_of_one_process_ends_the_others(tmp_path: Path) -> None:
    done = launch(tmp_path, [TRAIN, [*TRAIN, "lr=-1"]])
    assert [code for code, _, _ in done] == [2, 2]
    assert "rank 1: lr=-1: give 0 < lr" in done[1][2]
    assert re.search(r"rank 0: another process of this run is gone or hangs", done[0][2])


def test_a_task_that_is_not_shared_is_refused(tmp_path: Path) -> None:
    (code, _, err), _ = launch(tmp_path, [["inspect"], ["inspect"]])
    assert code == 2
    assert "task=inspect: torchrun is for train, sample, compare" in err


def test_words_of_other_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert with_task(["hydra.run.dir=${now:%H}"]) == ["hydra.run.dir=${now:%H}"]
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert with_task(["train", "hydra.run.dir=${now:%H}"]) == [
        "task=train", "hydra.run.dir=${started:%H}", "hydra.output_subdir=null",
    ]  # fmt: skip


def test_a_batch_that_does_not_divide_is_refused(tmp_path: Path) -> None:
    with refused("batch_size=8: give a multiple of 3"):
        run(tmp_path, replace(CONFIGS["ddp"], accumulate=3))
