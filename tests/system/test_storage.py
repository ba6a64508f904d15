"""Files are written whole or not at all, and known by their content."""

from __future__ import annotations

import errno
import hashlib
import tempfile
from pathlib import Path

import pytest

from sde_diffusion.errors import InputError
from sde_diffusion.system.storage import beside, fingerprint, tidy, write_atomically


def test_writing_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "sub" / "file"
    write_atomically(target, b"old")

    def fail(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert [p.name for p in target.parent.iterdir()] == ["file"]


def test_a_full_disk_is_one_line_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "file"
    write_atomically(target, b"old")

    def fail(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(InputError, match=r"file: not written \(No space left on device\)"):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    with pytest.raises(InputError, match="not written"):
        write_atomically(target / "below a file", b"new")


def test_what_killed_writers_left_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.replace", lambda *names: None)
    for name in ("a.json", "b/c.safetensors", "levels.pdf", "d"):
        write_atomically(tmp_path / name, b"half")
    kept = [".lock", ".gitignore", "a.json", ".notes.txt", ".report.html.original"]
    for name in kept:
        (tmp_path / name).write_text("whole")
    assert len(list(tmp_path.rglob("*"))) == len(kept) + 5
    tidy(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted([*kept, "b"])


def test_a_folder_that_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    half = Path(tempfile.mkdtemp(**beside(tmp_path / "pipeline")))
    (half / "model.safetensors").write_bytes(b"half")
    (tmp_path / ".hydra").mkdir()
    tidy(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".hydra"]


def test_the_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", b"same")
    write_atomically(tmp_path / "b", b"same")
    write_atomically(tmp_path / "c", b"other")
    assert fingerprint(tmp_path / "a") == hashlib.sha256(b"same").hexdigest()[:16]
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b") != fingerprint(tmp_path / "c")
