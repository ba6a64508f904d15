"""An interrupt that a library has made another error of is an interrupt still."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from PIL import Image

from sde_diffusion import cli, console
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


def swallowed() -> None:
    """An interrupt that a library makes nothing of."""
    with contextlib.suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("usual")
@pytest.mark.parametrize("times", [1, 3])
def test_an_interrupt_that_is_swallowed_comes_again(times: int) -> None:
    def job() -> None:
        swallowed()
        for _ in range(times - 1):
            with contextlib.suppress(KeyboardInterrupt):
                time.sleep(30)
        time.sleep(30)

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), interrupts.heard():
        job()
    assert time.monotonic() - began < 20


@pytest.mark.usefixtures("usual")
def test_what_an_interrupt_ends_is_left_to_tidy_up() -> None:
    """However long that takes, and if it goes by another error in between."""
    tidied = []

    def job() -> None:
        try:
            raising(LOCK)()
        finally:
            with contextlib.suppress(ValueError):
                raise ValueError
            time.sleep(2 * interrupts.LOOK * interrupts.LOOKS)
            tidied.append(True)

    with pytest.raises(RuntimeError), interrupts.heard():
        job()
    assert tidied
    with interrupts.heard():  # no watch of an earlier block looks here
        time.sleep(2 * interrupts.LOOK * interrupts.LOOKS)


@pytest.mark.usefixtures("usual")
def test_no_job_begins_after_an_interrupt_that_the_composer_swallowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def folder(config: object) -> str:
        swallowed()
        return str(tmp_path / "out")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(cli.FULL_ERROR, "0")
    monkeypatch.setattr(cli, "job_folder", folder)
    monkeypatch.setattr(sys, "argv", ["sde-diffusion", "inspect"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 130
    assert "interrupted" in capsys.readouterr().err
    assert not list(tmp_path.rglob("result.json"))


def test_an_interrupt_while_the_executable_is_imported_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted:
        """A finder of modules at which Ctrl-C is pressed."""

        def find_spec(self, name: str, *_: object) -> None:
            if name == "sde_diffusion.cli":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "sde_diffusion.cli", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as end:
        console.main()
    assert end.value.code == 130
    assert capsys.readouterr().err == "sde-diffusion: interrupted before it began\n"
