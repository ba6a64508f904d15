"""One job at a time in a folder: who is refused, and whose lock is taken over."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sde_diffusion.errors import InputError
from sde_diffusion.system.lock import NAME, launch, locked
from tests.conftest import Run

HOLDER = """
import sys, time
from pathlib import Path
from sde_diffusion.system.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""
TORCHRUN = {"TORCHELASTIC_RUN_ID": "7", "MASTER_ADDR": "node1", "MASTER_PORT": "29500"}


def owner(folder: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads((folder / NAME).read_text())
    return content


def leave(folder: Path, **changes: object) -> None:
    """The lock file of a job that is no more."""
    known = {"host": socket.gethostname(), "process": 1, "launch": "x", "since": "2026-01-01"}
    (folder / NAME).write_text(json.dumps({**known, **changes}))


def test_the_second_is_refused_and_the_next_one_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "out"
    with locked(folder):
        assert owner(folder)["process"] == os.getpid()
        with (
            pytest.raises(InputError, match=r"hydra\.run\.dir=.*another job writes") as refused,
            locked(folder),
        ):
            pytest.fail("entered")
        assert f"process {os.getpid()} on {socket.gethostname()}" in str(refused.value)
    assert list(folder.iterdir()) == []
    with locked(folder), locked(tmp_path / "other"):
        pass


def test_a_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"process {process.pid} on"), locked(tmp_path):
            pytest.fail("entered")
        process.send_signal(signal.SIGKILL)
    assert owner(tmp_path)["process"] == process.pid
    with locked(tmp_path):
        assert owner(tmp_path)["process"] == os.getpid()


def test_a_lock_of_another_host_is_never_taken_over(tmp_path: Path) -> None:
    leave(tmp_path, host="elsewhere")
    with pytest.raises(InputError, match=r"another host.*remove .*\.lock"), locked(tmp_path):
        pytest.fail("entered")
    assert owner(tmp_path)["host"] == "elsewhere"
    (tmp_path / NAME).unlink()  # as the line says
    with locked(tmp_path):
        pass


def test_the_processes_of_one_launch_share_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt after a restart may have its first rank on another host."""
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    leave(tmp_path, host="node2", launch=launch())
    with locked(tmp_path):
        assert owner(tmp_path)["launch"] == launch() == "torchrun 7 at node1:29500"
    alone = launch({})
    assert str(os.getpid()) in alone
    # A launch on one host says only 'localhost': another host's is another launch.
    assert socket.gethostname() in launch({**TORCHRUN, "MASTER_ADDR": "localhost"})
    assert launch({**TORCHRUN, "TORCHELASTIC_RUN_ID": "8"}) != launch()


@pytest.mark.parametrize("content", [b"", b'{"host": "elsew', b"[1]", b"\xff"])
def test_a_lock_that_was_not_written_to_its_end_is_nobodys(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    with locked(tmp_path):
        assert owner(tmp_path)["process"] == os.getpid()


def test_where_the_disk_knows_no_locks_the_file_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", fail)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    leave(tmp_path, process=gone.pid)
    with locked(tmp_path):
        assert owner(tmp_path)["process"] == os.getpid()
    leave(tmp_path, process=os.getppid())
    with pytest.raises(InputError, match="another job writes"), locked(tmp_path):
        pytest.fail("entered")


def test_a_folder_that_may_not_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    below = tmp_path / "file" / "below"
    with pytest.raises(InputError, match=r"hydra\.run\.dir=.*may not be written"), locked(below):
        pytest.fail("entered")


def test_a_folder_that_is_removed_meanwhile_does_no_harm(tmp_path: Path) -> None:
    with locked(tmp_path / "out"):
        (tmp_path / "out" / NAME).unlink()
        (tmp_path / "out").rmdir()


def test_a_second_command_in_the_folder_is_refused(quick_cli: Run, tmp_path: Path) -> None:
    words = ("sample", "n=1", "nfe=2", "hydra.run.dir=out")
    with locked(tmp_path / "out"):
        done = quick_cli(*words, ok=False)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "hydra.run.dir=" in line
    assert "another job writes here" in line
    assert not (tmp_path / "out" / "result.json").exists()
    quick_cli(*words)
    assert not (tmp_path / "out" / NAME).exists()
