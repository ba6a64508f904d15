"""Results are written or refused; what no result needs costs a line."""

from __future__ import annotations

import csv
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from sde_diffusion.errors import DivergedError, InputError
from sde_diffusion.system.notice import new_job, notice, once, optional, printable
from sde_diffusion.system.output import Output
from sde_diffusion.system.tracking import CsvTracker, Job, NoTracker


def test_files_and_their_content(tmp_path: Path) -> None:
    output = Output(tmp_path, NoTracker())
    output.json("a.json", {"fd": math.inf, "rows": [1.5, math.nan], "at": (1, 2)})
    assert json.loads((tmp_path / "a.json").read_text()) == {
        "fd": None, "rows": [1.5, None], "at": [1, 2]
    }  # fmt: skip
    output.arrays("a.npz", x=np.arange(3))
    with np.load(tmp_path / "a.npz") as file:
        assert (int(file["format"]), file["x"].tolist()) == (1, [0, 1, 2])
    output.table("a", [{"x": 1, "y": 2}, {"x": 3, "y": 4}])
    with open(tmp_path / "a.csv", newline="") as file:
        assert list(csv.DictReader(file)) == [{"x": "1", "y": "2"}, {"x": "3", "y": "4"}]


@pytest.mark.parametrize("fault", [DivergedError("no numbers"), OSError(28, "full"), TypeError()])
def test_a_picture_that_fails_is_one_line(
    tmp_path: Path, fault: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    def draw() -> bytes:
        raise fault

    Output(tmp_path, NoTracker()).picture("a.png", draw)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("a.png: left out (")
    assert list(tmp_path.iterdir()) == []


def test_a_result_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    output = Output(tmp_path / "file", NoTracker())
    with pytest.raises(InputError, match="not written"):
        output.json("result.json", {})
    with pytest.raises(KeyboardInterrupt), optional("x"):
        raise KeyboardInterrupt


def test_a_tracker_that_cannot_write_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from sde_diffusion.system.tracking import Unfailing

    tracker = Unfailing(CsvTracker())
    tracker.log({"x": 1.0}, 0)  # not started: nothing to say
    (tmp_path / "file").write_text("")
    with tracker:
        tracker.start(Job({}, tmp_path / "file", "task", "group"))
        for step in range(3):
            tracker.log({"x": 1.0}, step)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("tracker: ")
    assert str(tmp_path / "file") in line


def test_a_notice_is_one_line_and_cannot_fail(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    notice("a\nb \x1b[31m")
    assert capsys.readouterr().err == "a b \\x1b[31m\n"
    assert len(printable("x" * 1000)) == 400
    closed = open("/dev/null", "w")  # noqa: SIM115
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    notice("to nobody")


def test_a_line_of_a_source_is_said_once_a_job(capsys: pytest.CaptureFixture[str]) -> None:
    new_job()
    for _ in range(3):
        once("a folder: one key is not done")
    once("another")
    assert capsys.readouterr().err.splitlines() == ["a folder: one key is not done", "another"]
    new_job()
    once("another")
    assert capsys.readouterr().err.splitlines() == ["another"]
