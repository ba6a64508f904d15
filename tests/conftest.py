"""What several tests share: the command line, in a process of its own or in this one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sde_diffusion.cli import FULL_ERROR, main
from tests.tiny_model import write_tiny


@dataclass(frozen=True)
class Done:
    """What a command printed, and its exit status."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.hookimpl(optionalhook=True, wrapper=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """Of ``-n auto``: one a core, eight at most, since each one takes a gigabyte."""
    return min((yield), 8)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """One thread a worker, and a process that it starts: together they have all cores."""
    os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of each test's own: none finds what another, or the user, has made."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SDE_DIFFUSION_CACHE", str(folder))
    return folder


@pytest.fixture
def cli(tmp_path: Path) -> Run:
    """``cli("sample", "n=4")`` in a process and folder of its own; ok=False lets it fail."""

    def run(*words: str, ok: bool = True, env: dict[str, str] | None = None) -> Done:
        environment = {**os.environ, "WANDB_MODE": "offline", **(env or {})}
        environment.pop(FULL_ERROR, None)
        done = subprocess.run(
            [sys.executable, "-m", "sde_diffusion.cli", *words],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert not ok or done.returncode == 0, done.stderr[-2000:]
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def quick_cli(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """The same in this process, which has loaded torch already."""

    def run(*words: str, ok: bool = True) -> Done:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv(FULL_ERROR, "0")
        monkeypatch.setenv("WANDB_MODE", "offline")
        monkeypatch.setattr(sys, "argv", ["sde-diffusion", *words])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        printed = capsys.readouterr()
        assert not ok or code == 0, printed.err
        return Done(code, printed.out, printed.err)

    return run


@pytest.fixture
def tiny_model(tmp_path: Path) -> str:
    """A checkpoint of the shape of the 8 x 8 digits, with small random weights."""
    path = tmp_path / "tiny.safetensors"
    write_tiny(path, classes=10)
    return str(path)


@pytest.fixture
def without_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparisons leave out plots and page, which take longer than all else of a small one."""
    monkeypatch.setattr("sde_diffusion.report.write._draw", lambda output, comparison: None)
