"""Bars are for a terminal: no log has one, whatever the task."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import sde_diffusion
from sde_diffusion.system.bars import hidden
from tests.conftest import Run

PACKAGE = Path(sde_diffusion.__file__).parent
# Of another library's function, which has a switch of its own, and of a download.
OTHERS = ("hosts/k_sampler.py", "metrics/extractors/inception.py", "data/folder.py")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_is_drawn_on_a_terminal(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    assert hidden() is not terminal
    assert hidden(wanted=False)


def test_every_bar_asks() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).as_posix() in OTHERS:
            continue
        for call in re.findall(r"\btqdm\((.*)", path.read_text()):
            rest = path.read_text().partition(f"tqdm({call}")[2][:200]
            assert "disable=" in call + rest, path


def test_a_log_of_a_task_has_none(cli: Run, tiny_model: str) -> None:
    done = cli("sample", f"checkpoint={tiny_model}", "n=4", "nfe=2")
    assert done.stderr == ""
