"""Finished cells: a killed run goes on where it was, and a torn file is sampled again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from sde_diffusion.animation import Film
from sde_diffusion.tasks.cells import Cell, load_cell, save_cell
from tests.conftest import Run

WORDS = ["compare", "solvers=[ddim,dpmpp_2m,unipc]", "nfe=[8]", "samples=[24,48]", "metrics=[kid]",
         "tracker=csv"]  # fmt: skip
DEPENDS = {"seeds": [0, 4], "nfe": 3}


def cell() -> Cell:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.arange(32, dtype=torch.uint8).reshape(2, 1, 4, 4)
    features = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    film = Film(torch.ones(1, dtype=torch.float64), pixels[None].clone(), pixels[None] + 1)
    return Cell(features, pixels, 3.0, 1.5, {"revision": "abc"}, film)


def test_a_cell_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_cell(path, cell(), DEPENDS)
    found = load_cell(path, DEPENDS)
    assert found is not None
    assert torch.equal(found.features, cell().features)
    assert torch.equal(found.images, cell().images)
    assert (found.nfe, found.seconds, found.made) == (3.0, 1.5, {"revision": "abc"})
    assert found.film is not None
    assert torch.equal(found.film.states, cell().images[None])


@pytest.mark.parametrize("fault", ["cut", "flipped", "empty", "other"])
def test_a_torn_or_strange_cell_is_seen(
    tmp_path: Path, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.safetensors"
    save_cell(path, cell(), DEPENDS)
    content = bytearray(path.read_bytes())
    if fault == "flipped":
        content[-5] ^= 1  # one bit of one number: safetensors itself reads on
    path.write_bytes({"cut": content[:-9], "empty": b""}.get(fault, bytes(content)))
    assert load_cell(path, {**DEPENDS, "nfe": 4} if fault == "other" else DEPENDS) is None
    assert "a.safetensors: not usable" in capsys.readouterr().err


def results(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "results.json").read_text())["rows"]


def test_a_killed_comparison_goes_on_and_counts_nothing_twice(
    tmp_path: Path, quick_cli: Run
) -> None:
    out = tmp_path / "out"
    environment = {**os.environ, "WANDB_MODE": "offline"}
    command = [sys.executable, "-m", "sde_diffusion.cli", *WORDS, f"hydra.run.dir={out}"]
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=tmp_path)
        end = time.monotonic() + 240
        while not list((out / "cells").glob("*.safetensors")) and time.monotonic() < end:
            assert process.poll() is None, (tmp_path / "log").read_text()[-2000:]
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
    finished = {path: path.stat().st_mtime_ns for path in (out / "cells").glob("*.safetensors")}
    assert 1 <= len(finished) < 3
    assert not (out / "results.json").exists()
    torn = out / "cells" / "torn"
    next(iter(finished)).rename(torn)  # of the finished ones, one is damaged as well
    next(iter(finished)).write_bytes(torn.read_bytes()[:-1000])

    quick_cli(*WORDS, "hydra.run.dir=out")
    kept = {path for path, t in finished.items() if path.stat().st_mtime_ns == t}
    assert kept == set(finished) - {next(iter(finished))}
    again = {path: path.stat().st_mtime_ns for path in (out / "cells").glob("*.safetensors")}
    assert len(again) == 3
    quick_cli(*WORDS, "hydra.run.dir=out")  # nothing is left to do
    assert {path: path.stat().st_mtime_ns for path in again} == again
    quick_cli(*WORDS, "hydra.run.dir=whole")
    assert len(results(out)) == len(results(tmp_path / "whole")) == 6
    for resumed, whole in zip(results(out), results(tmp_path / "whole"), strict=True):
        assert resumed["nfe"] == whole["nfe"] == 8
        assert resumed["fd"] == pytest.approx(whole["fd"], rel=1e-9)
        assert resumed["kid"] == pytest.approx(whole["kid"], rel=1e-6)
    steps = [line.split(",")[0] for line in (out / "metrics.csv").read_text().splitlines()]
    assert steps == ["step", "0", "1", "2"]
