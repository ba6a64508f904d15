"""Streams that fail cost what is printed, and the exit status, nothing else."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sde_diffusion.system.streams import Forgiving, forgiving

COMMAND = f"{sys.executable} -m sde_diffusion.cli sample n=1 nfe=2 hydra.run.dir=out"


class Full(io.StringIO):
    """A file on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_what_cannot_be_written_is_lost() -> None:
    stream = Forgiving(Full())
    assert stream.write("abc") == 3
    stream.flush()
    stream.settle()
    assert "No space" in str(stream.fault)
    never = Forgiving(None)
    assert (never.write(""), never.fault) == (0, None)
    assert (never.write("abc"), str(never.fault)) == (3, "closed")
    whole = io.StringIO()
    assert Forgiving(whole).write("abc") == 3
    assert (whole.getvalue(), Forgiving(whole).isatty()) == ("abc", False)


@pytest.mark.parametrize(
    ("stream", "fault", "code"),
    [("stdout", OSError(28, "full"), 1), ("stderr", OSError(28, "full"), 1),
     ("stdout", BrokenPipeError(), None), ("stdout", None, None)],
)  # fmt: skip
def test_the_exit_status_says_so(
    monkeypatch: pytest.MonkeyPatch, stream: str, fault: Exception | None, code: int | None
) -> None:
    class Failing(io.StringIO):
        def write(self, text: str) -> int:
            if fault is not None:
                raise fault
            return len(text)

    monkeypatch.setattr(sys, stream, Failing())
    ended = None
    try:
        with forgiving():
            print("a", file=getattr(sys, stream))
    except SystemExit as stop:
        ended = stop.code
    assert ended == code
    with pytest.raises(SystemExit, match="2"), forgiving():
        sys.exit(2 if print("a", file=getattr(sys, stream)) is None else 0)
    with pytest.raises(KeyboardInterrupt), forgiving():
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("redirected", "code", "said"),
    [("2>&-", 0, ""), (">&-", 1, "stdout: closed"), (">/dev/full", 1, "stdout: [Errno 28]")],
)
def test_a_command_keeps_its_files(tmp_path: Path, redirected: str, code: int, said: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{COMMAND} {redirected}"],
        cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code
    assert (tmp_path / "out" / "result.json").exists()
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    """What a library prints by number would stand in the file, as in the twin's."""
    script = (
        "import os, sys\n"
        "from sde_diffusion.system.streams import occupied\n"
        "occupied() if sys.argv[1] == 'ours' else None\n"
        "with open(sys.argv[1], 'w') as file:\n"
        "    os.write(2, b'a warning of C') if file.fileno() <= 2 or sys.argv[1] == 'ours' else 0\n"
    )
    for name, size in (("ours", 0), ("twin", 14)):
        subprocess.run(
            ["sh", "-c", f'{sys.executable} -c "$0" {name} 2>&-', script], cwd=tmp_path, check=True
        )
        assert (tmp_path / name).stat().st_size == size
