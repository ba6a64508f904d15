"""Parts of a job: each is made once, whoever takes it, and those of the killed are taken over."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from sde_diffusion.system import share
from sde_diffusion.system.share import claimed, shared
from sde_diffusion.system.storage import write_atomically

PARTS = range(12)


def path(folder: Path, part: int) -> Path:
    return folder / f"{part:02d}.csv"


def share_of(folder: Path, name: str, dies_at: int | None = None) -> None:
    """One of three processes makes its parts, and writes down which; perhaps it dies in one."""
    share.size = lambda: 3  # type: ignore[assignment]

    def make(part: int) -> None:
        with open(folder / f"asked-{name}", "a") as log:
            log.write(f"{part}\n")
        if part == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.01)
        write_atomically(path(folder, part), str(part).encode())

    parts = list(shared(PARTS, lambda k: path(folder, k), make, lambda k: path(folder, k).exists()))
    (folder / f"seen-{name}").write_text(" ".join(map(str, sorted(parts))))


def asked(folder: Path) -> list[int]:
    return [int(k) for log in folder.glob("asked-*") for k in log.read_text().split()]


@pytest.mark.parametrize("dies_at", [None, 0, 5])
def test_each_part_is_made_once_and_those_of_the_killed_again(
    tmp_path: Path, dies_at: int | None
) -> None:
    context = multiprocessing.get_context("fork")
    # The one that may die begins alone, and so gets to the part that it dies in.
    first = context.Process(target=share_of, args=(tmp_path, "first", dies_at))
    first.start()
    if dies_at is not None:
        first.join(20)
    others = [context.Process(target=share_of, args=(tmp_path, name)) for name in "ab"]
    for process in others:
        process.start()
    for process in [first, *others]:
        process.join(20)
        assert process.exitcode == (
            -signal.SIGKILL if process is first and dies_at is not None else 0
        )
    assert sorted(asked(tmp_path)) == sorted([*PARTS, *([] if dies_at is None else [dies_at])])
    assert [int(path(tmp_path, k).read_text()) for k in PARTS] == list(PARTS)
    for log in tmp_path.glob("seen-*"):
        assert log.read_text() == " ".join(map(str, PARTS))
    assert not list(tmp_path.glob(".*"))


def test_a_claim_is_of_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock belongs to what opened it, so that a second claim of this process stands for one of
    another."""
    monkeypatch.setattr(share, "size", lambda: 2)
    with claimed(tmp_path / "a") as ours, claimed(tmp_path / "a") as theirs:
        assert (ours, theirs) == (True, False)
    with claimed(tmp_path / "a") as again:
        assert again


def test_where_nothing_may_be_written_all_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(share, "size", lambda: 2)
    (tmp_path / "file").write_text("")
    with claimed(tmp_path / "file" / "a") as ours:
        assert ours
