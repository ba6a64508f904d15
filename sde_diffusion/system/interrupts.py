"""An interrupt (Ctrl-C) stays one, whatever a library has made of it.

Python raises KeyboardInterrupt wherever the program is, also between the ``try`` and the lock of
``logging``, which then answers ``RuntimeError: cannot release un-acquired lock``. Taken for a fault
of a file, that would be a refusal, or a picture that is skipped. A library may also swallow what it
has made of one, and the job would go on: an interrupt that nobody handles any more is given again.
"""

from __future__ import annotations

import _thread
import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

_came = threading.Event()
# What is active while a program ends or a generator is closed.
ENDING = (KeyboardInterrupt, SystemExit, GeneratorExit)
_blocks: list[object] = []  # the one in which interrupts are heard, if there is one
# Seconds between looks at what became of an interrupt, and how many of them in a row must find that
# nobody handles it before it is given again.
LOOK, LOOKS = 0.05, 3


@contextlib.contextmanager
def heard() -> Iterator[None]:
    """A block in which interrupts are remembered; where another handler is installed, as under
    nohup or in another thread, that one stays."""
    _came.clear()
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not usual or threading.current_thread() is not threading.main_thread():
        yield
        return
    hook = sys.unraisablehook

    def unraisable(fault: sys.UnraisableHookArgs) -> None:
        """Of a ``__del__``, whose KeyboardInterrupt would be printed and lost; it comes again."""
        if not issubclass(fault.exc_type, KeyboardInterrupt):
            hook(fault)

    _blocks[:] = [object()]
    signal.signal(signal.SIGINT, _interrupt)
    sys.unraisablehook = unraisable
    try:
        yield
    finally:
        _blocks.clear()
        sys.unraisablehook = hook
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if _blocks and not _came.is_set():
        _thread.start_new_thread(_watch, tuple(_blocks))  # which does not wait, as Thread does
    _came.set()
    raise KeyboardInterrupt


def _watch(*block: object) -> None:
    """Give the interrupt again wherever it was swallowed, until the block ends."""
    main, lost = threading.main_thread().ident, 0
    while _blocks == [*block] and main is not None:
        lost = 0 if _handled(main) else lost + 1
        if lost == LOOKS:
            lost = 0
            signal.pthread_kill(main, signal.SIGINT)
        time.sleep(LOOK)


def _handled(thread: int) -> bool:
    """Whether a thread is within an ``except`` or ``finally`` of an interrupt, or of what was made
    of it."""
    active: Any = sys._current_exceptions().get(thread)
    waiting, seen = [active[1] if isinstance(active, tuple) else active], set[int]()
    while waiting:
        error = waiting.pop()
        if isinstance(error, ENDING):
            return True
        if error is not None and id(error) not in seen:
            seen.add(id(error))
            waiting += [error.__cause__, error.__context__]
    return False


def check() -> None:
    """KeyboardInterrupt if there was an interrupt that a library has swallowed."""
    if _came.is_set():
        raise KeyboardInterrupt


def passed_on(error: BaseException) -> None:
    """KeyboardInterrupt in the place of ``error``, if there was an interrupt; else nothing."""
    if _came.is_set():
        raise KeyboardInterrupt from error
