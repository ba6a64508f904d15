"""Lines to the user beside the results: what was left out, and why. They never end a job."""

from __future__ import annotations

import contextlib
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextvars import ContextVar

from tqdm import tqdm

from sde_diffusion.system.interrupts import passed_on
from sde_diffusion.system.processes import rank

# How lines are spelled for who reads them: as they are, or in the words of Python.
spelling: ContextVar[Callable[[str], str]] = ContextVar("spelling", default=str)


def notice(line: str) -> None:
    """One line on stderr, above whatever bar is drawn there; lost where stderr is closed.

    Of several processes rank 0 speaks.
    """
    if rank() == 0:
        with contextlib.suppress(OSError, ValueError):
            tqdm.write(printable(spelling.get()(line)), file=sys.stderr)


_SAID: set[str] = set()


def once(line: str) -> None:
    """``notice``, of a line that this job has not said yet; outside a job, this process."""
    if line not in _SAID:
        _SAID.add(line)
        notice(line)


# Lines of ``later``; None where nobody would let them go.
_waiting: list[str] | None = None


def later(line: str) -> None:
    """``once``, of a line that is worth nothing to a job that is refused: within ``waiting`` it is
    said when the job begins."""
    if _waiting is None:
        once(line)
    else:
        _waiting.append(line)


@contextlib.contextmanager
def waiting() -> Iterator[None]:
    """A block that may end in a refusal, whose line then stands alone."""
    global _waiting
    _waiting = []
    try:
        yield
        begun()
    finally:
        _waiting = None


def begun() -> None:
    """The job is not refused: what waited is said."""
    global _waiting
    lines, _waiting = _waiting or [], None
    for line in lines:
        once(line)


def new_job() -> None:
    """What earlier jobs of this process said may be said again."""
    _SAID.clear()


def printable(text: object, limit: int = 400) -> str:
    """``text`` in one line of at most ``limit`` characters, control characters escaped."""
    line = " ".join(str(text).split())
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
    return line if len(line) <= limit else line[: limit - 3] + "..."


# Characters that a terminal or a page obeys and does not show: of control, format, half a pair.
OBEYED = ("Cc", "Cf", "Cs")


def visible(text: str) -> str:
    """``text`` with its lines and tabs; other characters that are obeyed, not shown, are escaped.

    A name may turn a terminal's text red, or the order of letters about.
    """
    if text.isprintable():
        return text
    return "".join(
        repr(c)[1:-1] if c not in "\n\t" and unicodedata.category(c) in OBEYED else c for c in text
    )


@contextlib.contextmanager
def optional(what: str) -> Iterator[None]:
    """A block that no result needs, a cache or a picture: where it fails, one line says so."""
    try:
        yield
    except Exception as error:  # whatever a library raises: the result is worth more
        passed_on(error)
        reason = error.__cause__ if isinstance(error.__cause__, OSError) else error
        notice(f"{what}: left out ({printable(reason, 200) or type(reason).__name__})")
