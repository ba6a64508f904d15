"""One job at a time writes into a folder: a lock that names its host, process and launch.

The kernel holds the lock of a process (``flock``), so that one that was killed has none; the file
says whose it is, and is all that is known of a process on another host.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from sde_diffusion.errors import InputError
from sde_diffusion.system.processes import from_first, rank

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"
LOCAL = ("localhost", "127.0.0.1", "::1")


@contextlib.contextmanager
def locked(folder: Path, key: str = "hydra.run.dir") -> Iterator[None]:
    """No other job may enter this block with ``folder`` until it ends; ``key`` names it in a line.

    Of several ranks the first has the lock for all. What a process of this host that is gone, or
    an earlier attempt of the same launch, has left is taken over. InputError on every rank if
    another job has the folder, or one on another host may have it.
    """
    held, refusal = None, None
    if rank() == 0:
        try:
            held = _take(folder, key)
        except InputError as error:
            refusal = str(error)
    if (refusal := from_first(refusal)) is not None:
        raise InputError(refusal)
    try:
        yield
    finally:
        if held is not None:
            with contextlib.suppress(OSError):  # the folder may be gone
                (folder / NAME).unlink()
            os.close(held)


def launch(environment: Mapping[str, str] = os.environ) -> str:
    """What started this process: the same words on all ranks of one ``torchrun``, and after its
    restarts."""
    if "TORCHELASTIC_RUN_ID" not in environment:
        return f"process {os.getpid()} on {socket.gethostname()}"
    host = environment.get("MASTER_ADDR", "localhost")
    place = f"{socket.gethostname()} {host}" if host in LOCAL else host
    port = environment.get("MASTER_PORT", "")
    return f"torchrun {environment['TORCHELASTIC_RUN_ID']} at {place}:{port}"


def _take(folder: Path, key: str) -> int | None:
    """The open lock file of ``folder``, written anew; None where the system has no locks."""
    if fcntl is None:
        return None
    path = folder / NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            held = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            with contextlib.ExitStack() as failing:
                failing.callback(os.close, held)
                _enter(held, path, key)
                with contextlib.suppress(FileNotFoundError):
                    # Whoever had it may have taken the file away meanwhile.
                    if os.path.samestat(os.fstat(held), path.stat()):
                        failing.pop_all()
                        return held
    except OSError as error:
        raise InputError(
            f"{key}={folder}: may not be written ({error.strerror}); give another folder"
        ) from error


def _enter(held: int, path: Path, key: str) -> None:
    """Take the open lock; InputError if somebody has it, or may have it."""
    taken = _is_taken(held)
    owner, host = _owner(held), socket.gethostname()
    ours, alike = owner.get("host") == host, owner.get("launch") == launch()
    if taken is None:  # a file system without locks: what the file says must do
        taken = ours and not alike and _is_alive(owner.get("process", ""))
    who = f"process {owner.get('process')} on {owner.get('host')}, since {owner.get('since')}"
    if taken:
        raise InputError(
            f"{key}={path.parent}: another job writes here ({who}); wait for it, or give "
            "another folder"
        )
    if owner and not (ours or alike):  # this kernel may know no lock of another host's
        raise InputError(
            f"{key}={path.parent}: a job of another host may write here ({who}); give "
            f"another folder, or, if that one is gone, remove {path}"
        )
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    content = {"host": host, "process": os.getpid(), "launch": launch(), "since": now}
    os.ftruncate(held, 0)
    os.pwrite(held, json.dumps(content).encode(), 0)


def _is_taken(held: int) -> bool | None:
    """Whether another process has the open lock, which this one has otherwise; None if the file
    system cannot tell."""
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


def _is_alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ValueError, ProcessLookupError):
        return False
    except OSError:  # somebody else's
        return True
    return True


def _owner(held: int) -> dict[str, str]:
    """What the lock file says; nothing if it is new, or was not written to its end."""
    try:
        owner = json.loads(os.pread(held, 4096, 0))
    except ValueError:
        return {}
    return {str(k): str(v) for k, v in owner.items()} if isinstance(owner, dict) else {}
