"""What the shell is offered for a line as it is typed."""

from __future__ import annotations

import pytest

from sde_diffusion.config.completion import as_overrides
from tests.conftest import Run


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("sample solver=dp", "solver=dpmpp_2m"),
        ("train data=fo", "data=folder"),
        ("comp", "compare"),
        ("-m comp", "compare"),
        ("", "train"),
        ("task=sample solver=dp", "solver=dpmpp_2m"),
    ],
)
def test_a_line_is_completed_as_typed(
    cli: Run, monkeypatch: pytest.MonkeyPatch, line: str, offered: str
) -> None:
    monkeypatch.setenv("COMP_LINE", f"sde-diffusion {line}")
    done = cli("-sc", "query=bash")
    assert offered in done.stdout.split()
    assert done.stderr == ""


def test_a_task_is_offered_once_and_first() -> None:
    assert as_overrides("sde-diffusion comp") == ("sde-diffusion comp", ["compare"])
    assert as_overrides("sde-diffusion sample comp") == ("sde-diffusion task=sample comp", [])
    assert as_overrides("sde-diffusion sample ") == ("sde-diffusion task=sample ", [])


def test_the_script_for_the_shell_is_printed(cli: Run) -> None:
    assert "complete -o nospace" in cli("-sc", "install=bash").stdout
