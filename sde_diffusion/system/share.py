"""Work in parts that several processes share: each part is made by whichever takes it first.

A part is a file. Who makes it holds the kernel's lock of a file beside it, which a process that is
killed no longer holds: another one takes its part over, and nothing else is lost. Nobody is told
how many parts are its own, so that a slow process makes fewer, and none waits for a message.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from sde_diffusion.system.processes import size
from sde_diffusion.system.storage import CLAIM

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

T = TypeVar("T")
# Seconds between two looks for parts that others make.
PAUSE = 0.05


def shared(
    parts: Sequence[T],
    path: Callable[[T], Path],
    make: Callable[[T], object],
    whole: Callable[[T], bool],
) -> Iterator[T]:
    """Every part once it is there, the first of them first as far as that can be.

    Ends, in each process, when all are there. What ``make`` raises ends this process's share.

    Args:
        parts: in the order in which they are to be made. path: the file of one.
        make: writes that file, whole or not at all. whole: whether it is there.
    """
    waiting = list(parts)
    while waiting:
        for i, part in enumerate(waiting):
            if whole(part) or _made(part, path(part), make, whole):
                del waiting[i]
                yield part
                break
        else:
            time.sleep(PAUSE)


def _made(part: T, path: Path, make: Callable[[T], object], whole: Callable[[T], bool]) -> bool:
    """Whether the part is there now; not if another process is at it."""
    with claimed(path) as ours:
        if ours and not (size() > 1 and whole(part)):  # made between the look and the claim
            make(part)
        return ours


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Whether this process alone may make the file ``path`` until the block ends.

    Where the file system has no locks, all may: the same work is then done more than once.
    """
    claim = path.with_name(f".{path.name}{CLAIM}")
    held = None if size() == 1 or fcntl is None else _opened(claim)
    if held is None:
        yield True
        return
    try:
        ours = _locked(held, claim)
        yield ours
        if ours:
            claim.unlink(missing_ok=True)
    finally:
        os.close(held)


def _opened(claim: Path) -> int | None:
    """The open file; None where none may be written."""
    try:
        claim.parent.mkdir(parents=True, exist_ok=True)
        return os.open(claim, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError:
        return None


def _locked(held: int, claim: Path) -> bool:
    """Whether the open file is locked now, and still the one of that name."""
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(held), claim.stat())
    except (BlockingIOError, FileNotFoundError):
        return False
    except OSError:
        return True
