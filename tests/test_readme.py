"""What the README and the pages of docs show runs as it is typed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from sde_diffusion import load
from sde_diffusion.cli import with_task
from sde_diffusion.config.compose import compose_task

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(path: Path, kind: str) -> list[str]:
    """What stands in the page's blocks of one kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)


def test_python_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = blocks(ROOT / "docs" / "python.md", "python")
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["sevens"].images.shape == (16, 1, 28, 28)
    assert names["sevens"].images.dtype == torch.uint8
    assert names["sevens"].nfe == 10.0
    assert len(list((tmp_path / "sevens" / "images").glob("*-class7.png"))) == 16
    assert (tmp_path / "digits.webp").stat().st_size > 50_000
    solvers = ["unipc-order3"] * 2 + ["heun"] * 2 + ["ddim"] * 2
    assert [row["solver"] for row in names["results"]] == solvers
    assert (tmp_path / "report" / "report.html").is_file()
    assert names["distance"] > 0
    assert names["few"].nfe == 4
    # N(0, I) is a normal law, whose flow a rule has exactly.
    assert all(row["ratio"] < 0.01 for row in names["fast"].errors)
    assert len(names["bits"]) == 8
    for budget in (5, 10):
        assert 0 < names["error"]["unipc"][budget] < names["error"]["ddim"][budget] < 1
        assert names["best"][budget]["error"] < 0.05


COMMANDS = sorted(
    {
        line.removeprefix("sde-diffusion ")
        for path in PAGES
        for text in blocks(path, "bash")
        for line in text.splitlines()
        if line.startswith("sde-diffusion ")
    }
)


PLUGGED = ("launch=", "search=", "hydra.launcher.", "hydra.sweeper.")


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_compose(command: str) -> None:
    alone = re.split(r"\s+(?:#|\||>)", command)[0]  # without a remark, a pipe or a file
    words = [word for word in with_task(shlex.split(alone)) if word not in ("--multirun", "-m")]
    # What plug-ins take is held to them in tests/config/test_launch.py.
    words = [word for word in words if not word.startswith(PLUGGED)]
    # A swept choice is one of its values.
    first = [re.sub(r"^([\w.]+=(?:\[[^\]]*\]|[^\[,{\"]+)),.*$", r"\1", word) for word in words]
    assert f"task={compose_task(first).task}" in first


def test_commands_were_found() -> None:
    assert len(COMMANDS) >= 15


def test_dtype_and_device() -> None:
    model = load("mnist")
    wide = model.sample(n=2, nfe=3, dtype=torch.float64, device="cpu").x
    narrow = model.sample(n=2, nfe=3).x
    assert wide.dtype == torch.float64
    assert narrow.dtype == torch.float32
    assert (wide - narrow).abs().max() < 1e-3


def test_guided_sevens_are_sevens() -> None:
    from sde_diffusion.metrics.extractors import CnnExtractor

    drawn = load("mnist").sample(
        n=12, nfe=24, label=7, solver="unipc", guidance=["cfg"], guidance__cfg__scale=2
    )
    assert drawn.nfe == 24
    network = CnnExtractor("mnist-cnn").network
    with torch.no_grad():
        classes = network(drawn.images.float() / 127.5 - 1).argmax(1)
    assert (classes == 7).sum() >= 11
