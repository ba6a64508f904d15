"""An interrupt that a library has made another error of is an interrupt still."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from PIL import Image

from sde_diffusion import cli
from sde_diffusion.data import load_images
from sde_diffusion.errors import InputError
from sde_diffusion.system import interrupts
from sde_diffusion.system.notice import optional


def raising(error: Exception) -> Callable[..., NoReturn]:
    """A function that is interrupted, and raises ``error`` in its place, as logging's lock does."""

    def broken(*arguments: object, **named: object) -> NoReturn:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise error from None
        raise AssertionError("not interrupted")

    return broken


LOCK = RuntimeError("cannot release un-acquired lock")


@pytest.fixture
def usual(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Python's own handler, where a test runner has installed another."""
    monkeypatch.setattr(sys, "argv", ["sde-diffusion", "sample"])
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("usual")
@pytest.mark.parametrize(
    ("function", "error"),
    [
        ("_main", LOCK),
        ("_main", KeyError("10")),
        ("with_task", InputError("images=a.png: not read; mend or remove it")),
        ("find_packages", OSError("disk")),
        ("_compose", ValueError("yaml")),
    ],
)
def test_the_command_ends_as_interrupted(
    function: str, error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv(cli.FULL_ERROR, "0")  # which the command sets for its process
    monkeypatch.setattr(cli, function, raising(error))
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 130
    assert "interrupted; the same command goes on" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("usual")
def test_nothing_is_left_out_for_an_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt), interrupts.heard(), optional("grid.png"):
        raising(LOCK)()


@pytest.mark.usefixtures("usual")
def test_no_picture_is_skipped_for_an_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "open", raising(LOCK))
    with pytest.raises(KeyboardInterrupt), interrupts.heard():
        load_images(str(tmp_path), key="images")


@pytest.mark.usefixtures("usual")
def test_other_errors_stay_what_they_are() -> None:
    with interrupts.heard():
        interrupts.passed_on(LOCK)


class Interrupted:
    """An object in whose end the interrupt comes, where Python can only print it."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("usual")
def test_an_interrupt_of_an_object_s_end_comes_again() -> None:
    def ended() -> None:
        Interrupted()
        time.sleep(30)

    with pytest.raises(KeyboardInterrupt), interrupts.heard():
        ended()
