"""An interrupt (Ctrl-C) stays one, whatever a library has made of it.

Python raises KeyboardInterrupt wherever the program is, also between the ``try`` and the lock of
``logging``, which then answers ``RuntimeError: cannot release un-acquired lock``. Taken for a fault
of a file, that would be a refusal, or a picture that is skipped.
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

_came = threading.Event()
# Seconds after which an interrupt is given again that came where Python can raise nothing.
AGAIN = 0.05


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
        """Of a ``__del__``, whose KeyboardInterrupt would be printed and lost."""
        if issubclass(fault.exc_type, KeyboardInterrupt):
            _thread.start_new_thread(_again, ())  # which does not wait, as Thread does
        else:
            hook(fault)

    signal.signal(signal.SIGINT, _interrupt)
    sys.unraisablehook = unraisable
    try:
        yield
    finally:
        sys.unraisablehook = hook
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _again() -> None:
    time.sleep(AGAIN)
    if signal.getsignal(signal.SIGINT) is _interrupt:
        _thread.interrupt_main()


def _interrupt(number: int, frame: FrameType | None) -> None:
    _came.set()
    raise KeyboardInterrupt


def passed_on(error: BaseException) -> None:
    """KeyboardInterrupt in the place of ``error``, if there was an interrupt; else nothing."""
    if _came.is_set():
        raise KeyboardInterrupt from error
