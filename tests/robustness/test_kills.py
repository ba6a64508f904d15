"""A handful of ``python -m tests.robustness kills``, and that its judge can find fault."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from sde_diffusion.system.storage import write_atomically
from tests.robustness import kills
from tests.robustness.contents import contents, differing
from tests.robustness.jobs import TRACEBACK, Ended
from tests.robustness.kills import WAYS, Bench, disturbed, wrong_end
from tests.robustness.run_kills import counted


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("kills") / "bench")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "task"),
    list(zip(WAYS, ["sample", "convert", "evaluate", "interpolate"] * 2, strict=False)),
)
def test_a_disturbed_command_given_again_is_the_undisturbed_one(
    bench: Bench, way: str, task: str
) -> None:
    assert disturbed(bench, task, way, random.Random(f"{task} {way}"))[0] == ""


@pytest.mark.slow
@pytest.mark.parametrize("at", [5, 15])
def test_a_training_killed_at_a_write(bench: Bench, at: int) -> None:
    left = bench.undisturbed("train").files
    place = bench.place()
    ended = kills.Job(
        kills.words("train"), place, lambda: kills._at_write(at, kills.SIGNALS["kill"])
    ).wait()
    assert ended.status == -9
    assert kills.Job(kills.words("train"), place).wait().status == 0
    assert differing(left, contents(place / kills.OUT)) == []


@pytest.mark.parametrize(
    ("ended", "way", "fault"),
    [
        (Ended(0, "", ""), "kill", ""),
        (Ended(-9, "", "half a li"), "kill", ""),
        (Ended(2, "", "sde-diffusion: n=0: give 1\n"), "full", ""),
        (Ended(2, "", ""), "full", "exit status 2 with 0 lines"),
        (Ended(130, "", "sde-diffusion: interrupted\n"), "interrupt", ""),
        (Ended(2, "", "sde-diffusion: n=0: give 1\n"), "interrupt", "exit status 2 after"),
        (Ended(TRACEBACK, "", ""), "kill", "traceback"),
        (Ended(0, "", "Traceback (most"), "kill", "traceback"),
    ],
)
def test_the_judge_of_an_end(ended: Ended, way: str, fault: str) -> None:
    assert wrong_end(ended, way).startswith(fault)
    assert bool(fault) == bool(wrong_end(ended, way))


def test_a_write_has_a_moment_before_its_rename_one_within_and_one_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, getattr(os, name))
    seen: list[tuple[int, bool]] = []
    path = tmp_path / "a.json"
    kills._at_writes(lambda moment: seen.append((moment, path.exists())))
    write_atomically(path, b"{}")
    assert seen == [(0, False), (1, False), (2, True)]


def test_cases_that_the_signal_came_too_late_for_are_counted_apart() -> None:
    case = {"way": "kill", "fault": "", "met": True}
    found = counted([case, {**case, "met": False}, {**case, "way": "full", "fault": "lost"}])
    assert found == {
        "kill": {"cases": 2, "met": 1, "faults": 0},
        "full": {"cases": 1, "met": 1, "faults": 1},
    }


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    return tmp_path / "a", tmp_path / "b"


def test_times_may_differ_and_nothing_else(folders: tuple[Path, Path]) -> None:
    first, second = folders
    for folder, seconds in ((first, 1.5), (second, 2.5)):
        (folder / "result.json").write_text(f'{{"fd": 3, "seconds": {seconds}}}')
        (folder / "metrics.csv").write_text(f"step,loss,images/s\n1,2.0,{seconds}\n")
        (folder / "page.html").write_text(f"made 2026-01-0{int(seconds)}T00:00:00+00:00")
    assert differing(contents(first), contents(second)) == []
    (second / "result.json").write_text('{"fd": 4, "seconds": 1.5}')
    (second / "metrics.csv").write_text("step,loss,images/s\n1,2.1,1.5\n")
    (second / "grid.png").write_bytes(b"x")
    names = ["grid.png", "metrics.csv", "result.json"]
    assert differing(contents(first), contents(second)) == names
