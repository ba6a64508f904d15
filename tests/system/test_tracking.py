"""Trackers: what is logged can be read back, resumed, and never costs the run."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from PIL import Image

from sde_diffusion.cli import with_task
from sde_diffusion.config.compose import compose_task
from sde_diffusion.config.groups import conf_dir
from sde_diffusion.errors import InputError
from sde_diffusion.system import wandb_tracker
from sde_diffusion.system.tracking import CsvTracker, Job, NoTracker, Unfailing
from sde_diffusion.system.wandb_tracker import WandbTracker
from tests.conftest import Run


def job(folder: Path) -> Job:
    return Job({"nfe": 7, "solver": {"order": 2}}, folder, "compare", "stamp", ["mnist"])


def offline_run(folder: Path, step: int) -> None:
    with WandbTracker(mode="offline", tags=["nightly"]) as tracker:
        tracker.start(job(folder))
        tracker.log({"fd": 1.5}, step)
        tracker.table("results", [{"solver": "ddim", "fd": 1.5}])
        Image.new("L", (4, 4)).save(folder / "grid.png")
        tracker.image("grid", folder / "grid.png")


def records(run: Path) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(run)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_an_offline_run_can_be_read_back(tmp_path: Path) -> None:
    offline_run(tmp_path, step=3)
    (run,) = (tmp_path / "wandb").glob("offline-run-*")
    found = records(run)
    (start,) = [record["run"] for record in found if record["type"] == "run"]
    assert start["run_group"] == "stamp"
    assert start["job_type"] == "compare"
    assert start["tags"] == ["mnist", "nightly"]
    assert start["config"]["update"]["solver"] == {"order": 2}
    items = [record["history"]["item"] for record in found if record["type"] == "history"]
    logged = {name: value for item in items for name, value in item.items()}
    assert items[0]["_step"] == 3
    assert logged["fd"] == 1.5
    assert logged["results.nrows"] == 1
    assert logged["grid.format"] == "png"


def test_a_comparison_logs_its_tables_plots_film_and_page(quick_cli: Run, tmp_path: Path) -> None:
    quick_cli("compare", "hydra.run.dir=out", "solvers=[ddim,heun]", "nfe=[2]", "samples=[4,8]",
              "tracker=wandb", "tracker.mode=offline")  # fmt: skip
    (run,) = (tmp_path / "out" / "wandb").glob("offline-run-*")
    items = [r["history"]["item"] for r in records(run) if r["type"] == "history"]
    logged = {name: value for item in items for name, value in item.items()}
    assert {item["nfe"] for item in items if "nfe" in item} == {2}
    assert "fd" not in logged
    assert logged["fd/ddim"] > 0
    assert logged["fd/heun"] > 0
    (start,) = [r["run"] for r in records(run) if r["type"] == "run"]
    assert start["display_name"] == "compare mnist ddim,heun nfe2"
    assert start["run_group"] == "compare"
    assert start["tags"] == ["compare", "mnist", "ddim,heun", "nfe2"]
    metrics = [r["metric"] for r in records(run) if r["type"] == "metric"]
    assert {m["name"]: m.get("step_metric") for m in metrics}["fd/heun"] == "nfe"
    assert [logged[f"{name}.nrows"] for name in ("results", "points", "ranking")] == [4, 4, 2]
    for name in ("fd_vs_nfe", "fd_vs_samples", "fd_vs_seconds", "samples"):
        assert logged[f"{name}.format"] == "png"
    assert logged["trajectory.format"] == "webp"
    assert logged["report._type"] == "html-file"


def test_a_finished_job_is_not_logged_twice(quick_cli: Run, tmp_path: Path) -> None:
    words = ["sample", "hydra.run.dir=out", "n=2", "nfe=2", "tracker=wandb"]
    first = quick_cli(*words)
    assert "wandb: offline, by WANDB_MODE; 'wandb sync" in first.stderr
    again = quick_cli(*words)
    assert "nothing is logged twice" in again.stderr
    assert len(list((tmp_path / "out" / "wandb").glob("offline-run-*"))) == 1


def test_a_resumed_job_goes_on_in_its_run(tmp_path: Path) -> None:
    offline_run(tmp_path, step=0)
    offline_run(tmp_path, step=1)
    identity = (tmp_path / "wandb-id.txt").read_text()
    runs = list((tmp_path / "wandb").glob("offline-run-*"))
    assert runs
    assert all(f"-{identity}" in run.name for run in runs)  # "-1" follows within one second


class Service:
    """A run that takes ``takes`` calls, then raises, or answers no more."""

    def __init__(self, takes: int = 0, ends: Callable[[], object] = lambda: None) -> None:
        self.takes, self.ends, self.taken = takes, ends, list[object]()
        self.summary: dict[str, float] = {}

    def log(self, numbers: object, step: int | None = None) -> None:
        if len(self.taken) >= self.takes:
            self.ends()
        self.taken.append(numbers)

    def define_metric(self, *args: object, **options: object) -> None:
        return None

    def finish(self) -> None:
        self.log({})


def silence() -> None:
    threading.Event().wait(30)


def gone() -> None:
    raise ConnectionResetError("Connection lost")


def quota() -> None:
    raise RuntimeError("403: storage quota exceeded")


def unprintable() -> None:
    raise OSError


def leaving() -> None:
    sys.exit(3)


@pytest.mark.parametrize("ends", [silence, gone, quota, unprintable, leaving])
@pytest.mark.parametrize("takes", [0, 2, 6])
def test_a_service_that_goes_in_the_midst_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    ends: Callable[[], object], takes: int,
) -> None:  # fmt: skip
    """One line says where the numbers lie; they lie there; the same job logs them once more."""
    import wandb

    monkeypatch.setattr(wandb, "init", lambda **options: Service(takes, ends))
    impatient = WandbTracker(mode="offline")
    impatient.patience = 0.2
    began = time.monotonic()
    with Unfailing(impatient) as tracker:
        tracker.start(job(tmp_path))
        for step in range(5):
            tracker.log({"loss": float(step)}, step)
        tracker.point("ddim", "nfe", {"nfe": 4.0, "fd": 1.0}, 5)
    tracker.complete()
    tracker.log({"loss": 9.0}, 9)  # after the end
    assert time.monotonic() - began < 5
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("tracker: ")]
    (line,) = lines
    assert f"what it finds is in {tmp_path}, numbers in its metrics.csv" in line
    with open(tmp_path / "metrics.csv", newline="") as file:
        rows = {int(row["step"]): row for row in csv.DictReader(file)}
    assert sorted(rows) == [step for step in (*range(takes, 6), 9) if step != 6]
    assert not (tmp_path / "wandb-done.txt").exists()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for the process in /proc")
def test_a_service_process_that_is_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run goes on, no traceback comes at Python's exit, and the next job has a service."""
    script = f"""
import os, signal
from pathlib import Path
from sde_diffusion.system.tracking import Job, Unfailing
from sde_diffusion.system.wandb_tracker import WandbTracker

def logged(folder, kill):
    with Unfailing(WandbTracker(mode="offline")) as tracker:
        tracker.start(Job({{}}, folder, "train", "g"))
        for step in range(40):
            tracker.log({{"loss": 1.0 * step}}, step)
            if kill and step == 3:
                me = f"/proc/self/task/{{os.getpid()}}/children"
                for child in Path(me).read_text().split():
                    if b"wandb-core" in Path(f"/proc/{{child}}/cmdline").read_bytes():
                        os.kill(int(child), signal.SIGKILL)
                        os.waitpid(int(child), 0)
    tracker.complete()

for name, kill in (("killed", True), ("next", False)):
    folder = Path({str(tmp_path)!r}, name)
    folder.mkdir()
    logged(folder, kill)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert done.stderr.count("tracker: ") == 1
    assert "step,loss" in (tmp_path / "killed" / "metrics.csv").read_text()
    assert not (tmp_path / "killed" / "wandb-done.txt").exists()
    assert not (tmp_path / "next" / "metrics.csv").exists()
    assert (tmp_path / "next" / "wandb-done.txt").exists()


class Away:
    """A service that has gone."""

    def log(self, *args: object, **kwargs: object) -> None:
        raise ConnectionError("away")

    finish = log


def test_a_log_that_fails_does_not_cost_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first failure is a line that says where the figures lie."""
    import wandb

    monkeypatch.setattr(wandb, "init", lambda **options: Away())
    with Unfailing(WandbTracker(mode="offline")) as tracker:
        tracker.start(job(tmp_path))
        tracker.log({"fd": 1.0}, 0)
        tracker.table("t", [{"a": 1}])
    said, line = capsys.readouterr().err.splitlines()
    assert said.startswith("wandb: offline, by tracker.mode")
    assert "away" in line
    assert str(tmp_path) in line


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_log_that_cannot_be_opened_does_not_cost_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], mode: str
) -> None:
    import wandb

    modes = []

    def init(mode: str, **options: object) -> None:
        modes.append(mode)
        raise wandb.errors.UsageError(f"no {mode}")

    monkeypatch.setattr(wandb, "init", init)
    with Unfailing(WandbTracker(mode=mode)) as tracker:
        tracker.start(job(tmp_path))
        tracker.log({"fd": 1.0}, 0)
    assert modes == list(dict.fromkeys([mode, "offline"]))
    assert "tracker: no offline; the run goes on" in capsys.readouterr().err


def test_what_wandb_does_not_take_is_cut_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    asked: dict[str, Any] = {}
    monkeypatch.setattr(wandb, "init", lambda **options: asked.update(options))
    tracker = WandbTracker(mode="offline", tags=["", "t" * 70, "t" * 80, "a"])
    tracker.start(Job({}, tmp_path, "sample", "g" * 200, ["d" * 65]))
    assert asked["tags"] == ["d" * 64, "t" * 64, "a"]
    assert asked["group"] == "g" * 128
    for name in ("team/project", "", "p" * 129, "a%b"):
        with pytest.raises(InputError, match=r"tracker\.project="):
            WandbTracker(project=name)
    with pytest.raises(InputError, match=r"tracker\.entity=a/b"):
        WandbTracker(entity="a/b")


def test_online_without_a_network_falls_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import wandb

    modes = []

    def init(mode: str, **options: object) -> object:
        modes.append(mode)
        if mode == "online":
            raise wandb.errors.CommError("no network")
        return None

    monkeypatch.setattr(wandb, "init", init)
    WandbTracker(mode="online").start(job(tmp_path))
    assert modes == ["online", "offline"]
    assert "logging offline" in capsys.readouterr().err


def test_a_damaged_log_is_begun_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for content in (b"step,loss\nmany,1\n", b"loss\n1\n", b"\xff\xfe"):
        (tmp_path / "metrics.csv").write_bytes(content)
        tracker = CsvTracker()
        tracker.start(job(tmp_path))
        tracker.log({"loss": 2.0}, 5)
        assert (tmp_path / "metrics.csv").read_text() == "step,loss\n5,2.0\n"
        assert "metrics.csv: not usable" in capsys.readouterr().err


def test_csv_rows_can_be_read_and_resumed(tmp_path: Path) -> None:
    for steps in ((1, 2, 3), (2, 3)):  # killed after 3, resumed from a checkpoint at 1
        tracker = CsvTracker()
        tracker.start(job(tmp_path))
        for step in steps:
            tracker.log({"loss": float(10 * step + len(steps))}, step)
        tracker.log({"val": 0.5}, steps[-1])
    with open(tmp_path / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["step"], row["loss"]) for row in rows] == [
        ("1", "13.0"),
        ("2", "22.0"),
        ("3", "32.0"),
    ]
    assert rows[-1]["val"] == "0.5"


def test_no_tracker_writes_nothing(tmp_path: Path) -> None:
    with NoTracker() as tracker:
        tracker.start(job(tmp_path))
        tracker.log({"loss": 1.0}, 0)
    assert not list(tmp_path.iterdir())


def test_a_wrong_mode_is_refused() -> None:
    with pytest.raises(InputError, match=r"tracker\.mode=loud"):
        WandbTracker(mode="loud")


def test_the_sweep_file_makes_commands_that_compose() -> None:
    sweep = OmegaConf.to_container(OmegaConf.load(Path(conf_dir()) / "sweep" / "wandb.yaml"))
    assert isinstance(sweep, dict)
    assert sweep["command"] == ["${env}", "sde-diffusion", "${args_no_hyphens}"]
    parameters = sweep["parameters"]
    first = {k: v.get("value", v.get("values", [None])[0]) for k, v in parameters.items()}
    config = compose_task([f"{key}={value}" for key, value in first.items()])
    assert config.task == "compare"
    assert list(config.samples) == [1000]


@pytest.mark.parametrize("left", [b"", b"../../x", b"\xff\x00", b"a b"])
def test_a_damaged_id_is_another_one(tmp_path: Path, left: bytes) -> None:
    """The twin gave it to wandb, which refused, and nothing was logged."""
    (tmp_path / "wandb-id.txt").write_bytes(left)
    given = wandb_tracker._run_id(tmp_path)
    assert given.isalnum()
    assert wandb_tracker._run_id(tmp_path) == given


def test_the_words_that_an_agent_makes_of_the_sweep_file_are_a_command() -> None:
    """By the code of W&B's own agent; a server, which chooses the values, is not here."""
    utils = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    sweep = OmegaConf.to_container(OmegaConf.load(Path(conf_dir()) / "sweep" / "wandb.yaml"))
    assert isinstance(sweep, dict)
    first = {
        key: {"value": said.get("value", said.get("values", [None])[0])}
        for key, said in sweep["parameters"].items()
    }
    words = utils.create_sweep_command_args({"args": first})["args_no_hyphens"]
    config = compose_task(with_task(words))
    assert (config.task, list(config.solvers), list(config.nfe)) == ("compare", ["ddim"], [6])
