"""Output streams of which no failure ends a job: closed ones, a reader that left, a full disk."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO, cast, final


@final
class Forgiving:
    """A text stream; what cannot be written to it is lost, and ``fault`` says why."""

    def __init__(self, stream: TextIO | None) -> None:
        # Python has none where it was started closed.
        self.stream, self.closed_before = stream or io.StringIO(), stream is None
        self.fault: Exception | None = None

    def write(self, text: str) -> int:
        """All of the text, or none of it."""
        if self.closed_before and text:
            self.fault = self.fault or OSError("closed")
        self._try(lambda: self.stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Now, if it is possible."""
        self._try(self.stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def _try(self, call: Callable[[], Any]) -> None:
        try:
            call()
        except (OSError, ValueError) as error:
            self.fault = self.fault or error

    def settle(self) -> None:
        """Write what is left; what cannot be is dropped, so that Python's exit does not try."""
        self.flush()
        if self.fault is not None:
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())


def occupied() -> None:
    """Descriptors 0, 1 and 2 that were closed lead to the null device: the next file to be opened
    would get the number, and what a library prints by number."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)


@contextlib.contextmanager
def forgiving() -> Iterator[None]:
    """A block in which stdout and stderr forgive.

    If one of them failed, and the block is content, exit with status 1; not for a reader of stdout
    that has seen enough, as ``| head``.
    """
    before = sys.stdout, sys.stderr
    occupied()
    out, err = Forgiving(sys.stdout), Forgiving(sys.stderr)
    sys.stdout, sys.stderr = cast(TextIO, out), cast(TextIO, err)
    ended: SystemExit | None = None
    try:
        yield
    except SystemExit as stop:
        ended = stop
    finally:
        out.settle()
        lost = out.fault is not None and not isinstance(out.fault, BrokenPipeError)
        if lost:
            err.write(f"stdout: {out.fault}; what was printed is lost, files are not\n")
        err.settle()
        sys.stdout, sys.stderr = before
    if ended is not None and ended.code:
        raise ended
    if lost or err.fault is not None:
        sys.exit(1)
    if ended is not None:
        raise ended
