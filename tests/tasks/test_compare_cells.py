"""Finished cells: a killed run goes on where it was, and a torn file is sampled again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from sde_diffusion.errors import DivergedError
from sde_diffusion.report import write
from sde_diffusion.sampling.execute import Execution
from sde_diffusion.sampling.film import Film
from sde_diffusion.sampling.sampler import Request, Watch
from sde_diffusion.sampling.samples import Samples
from sde_diffusion.tasks.compare.cell import Cell, Cells, load_cell, save_cell
from sde_diffusion.tasks.compare.plan import Plan
from tests.conftest import Run

WORDS = ["compare", "solvers=[ddim,dpmpp_2m,unipc]", "nfe=[5]", "samples=[8,16]", "metric=[kid]",
         "metric.kid.blocks=4", "animation=false", "tracker=csv"]  # fmt: skip
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
    assert (found.nfe, found.seconds, found.origin) == (3.0, 1.5, {"revision": "abc"})
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


class Stub:
    """A plan, its sampler and its extractor: image k is grey level k."""

    label, nfe, steps, block, filmed, name = "stub", 3, 3, 0, True, "stub-3-0.safetensors"
    budget = "stub", 3
    depends = DEPENDS
    most, seeds, cond = 303, range(20, 20 + 303), None

    def __init__(self, stop_at: int | None = None) -> None:
        self.sampler, self.stop_at, self.asked = self, stop_at, list[int]()

    def sample(self, request: Request, execution: object, watch: Watch) -> Samples:
        """Calls are recorded of the first part alone; a kill comes before image ``stop_at``."""
        seeds = request.seeds
        assert watch.recorded == (4 if seeds[0] == 20 else 0)
        if self.stop_at is not None and self.stop_at in seeds:
            raise KeyboardInterrupt
        self.asked += seeds
        assert watch.on_batch is not None
        watch.on_batch(len(seeds))
        grey = (torch.tensor(list(seeds)) % 256).float() / 127.5 - 1
        x = grey[:, None, None, None].expand(-1, 1, 2, 2)
        return Samples(x, tuple(seeds), 3.0, 0.5 * len(seeds))

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, 0, 0, :1].double()


def make(stub: Stub, folder: Path) -> tuple[Cell, int]:
    there: list[int] = []
    cells = Cells(folder / "cells", stub, Execution(4), Stub.most)  # type: ignore[arg-type]
    plans = cast(list[Plan], [stub])
    ((_, found),) = cells.take(plans, lambda plan, rows: there.append(rows))
    assert isinstance(found, Cell)
    return found, sum(there)


def test_a_cell_that_is_cut_short_keeps_its_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, told = make(Stub(), tmp_path / "whole")
    assert told == Stub.most
    assert whole.features[:, 0].tolist() == [k % 256 for k in Stub.seeds]
    assert (whole.nfe, whole.seconds) == (3.0, pytest.approx(0.5 * Stub.most))

    cut = Stub(stop_at=280)
    with pytest.raises(KeyboardInterrupt):
        make(cut, tmp_path)
    parts = sorted((tmp_path / "cells" / "stub-3-0").iterdir())
    assert cut.asked == list(range(20, 268))  # two parts of whole batches, 124 images each
    assert [part.name for part in parts] == [
        "0000000-0000124.safetensors", "0000124-0000248.safetensors",
    ]  # fmt: skip
    parts[1].write_bytes(parts[1].read_bytes()[:-9])

    resumed = Stub()
    found, told = make(resumed, tmp_path)
    assert resumed.asked == list(range(144, 323))  # the torn part and the missing one
    assert told == Stub.most
    assert "0000124-0000248.safetensors: not usable" in capsys.readouterr().err
    assert torch.equal(found.features, whole.features)
    assert torch.equal(found.images, whole.images)
    assert found.nfe == whole.nfe
    assert [path.name for path in (tmp_path / "cells").iterdir()] == ["stub-3-0.safetensors"]
    again = Stub()
    assert torch.equal(make(again, tmp_path)[0].features, whole.features)
    assert again.asked == []


def test_what_diverges_costs_its_budget_and_no_other_cell(tmp_path: Path) -> None:
    """The second block of a budget is not tried; the cell of another budget is there."""

    class Diverging(Stub):
        def sample(self, request: Request, execution: object, watch: Watch) -> Samples:
            self.asked += request.seeds
            raise DivergedError("far away")

    first, second, other = Diverging(), Diverging(), Stub()
    second.name, other.name, other.budget = "second.safetensors", "other.safetensors", ("stub", 4)
    cells = Cells(tmp_path / "cells", other, Execution(4), Stub.most)  # type: ignore[arg-type]
    taken = list(cells.take(cast(list[Plan], [first, second, other]), lambda plan, rows: None))
    assert [isinstance(found, DivergedError) for _, found in taken] == [True, True, False]
    assert (len(first.asked), second.asked) == (124, [])
    assert [path.name for path in (tmp_path / "cells").iterdir()] == ["other.safetensors"]


def test_a_joined_cell_names_every_revision() -> None:
    a, b = (replace(cell(), origin={"revision": r, "date": d}) for r, d in (("a", "1"), ("b", "2")))
    assert Cell.join([a, b, b]).origin == {"revision": "a; b", "date": "2"}


def results(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "results.json").read_text())["rows"]


def test_a_killed_comparison_goes_on_and_counts_nothing_twice(
    tmp_path: Path, quick_cli: Run, monkeypatch: pytest.MonkeyPatch
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
    monkeypatch.setattr(write, "_draw", lambda output, comparison: None)  # one page is enough
    quick_cli(*WORDS, "hydra.run.dir=out")  # nothing is left to do
    assert {path: path.stat().st_mtime_ns for path in again} == again
    quick_cli(*WORDS, "hydra.run.dir=whole")
    assert len(results(out)) == len(results(tmp_path / "whole")) == 6
    for resumed, whole in zip(results(out), results(tmp_path / "whole"), strict=True):
        assert resumed["nfe"] == whole["nfe"] == 5
        assert resumed["fd"] == pytest.approx(whole["fd"], rel=1e-9)
        assert resumed["kid"] == pytest.approx(whole["kid"], rel=1e-6)
    steps = [line.split(",")[0] for line in (out / "metrics.csv").read_text().splitlines()]
    assert steps == ["step", "0", "1", "2"]
