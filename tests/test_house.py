"""The house in figures keeps its goals: sizes, names, and how seldom the formatter is overruled."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Of a constant of ours, by its module or by its path.
PATCH = re.compile(
    r"""setattr\(\s*(?:"(?:sde_diffusion|tests|benchmarks)\.[\w.]*\.|\w+,\s*")_?[A-Z][A-Z0-9_]+\""""
)


@pytest.fixture(scope="module")
def house() -> Any:
    """What ``benchmarks/house.py`` counts of the package."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import house
    finally:
        sys.path.pop(0)
    return house.count(ROOT)


def test_a_task_reads_as_its_science(house: Any) -> None:
    runs = {
        name: lines
        for name, lines in house.lengths.items()
        if name.startswith("tasks/") and name.split(":")[1] == "run"
    }
    assert len(runs) >= 11
    assert {name: lines for name, lines in runs.items() if lines > 30} == {}


def test_no_function_is_a_page_long(house: Any) -> None:
    assert {name: lines for name, lines in house.lengths.items() if lines > 45} == {}


def test_no_class_name_stands_twice(house: Any) -> None:
    assert {name: places for name, places in house.names.items() if len(places) > 1} == {}


def test_the_formatter_is_seldom_overruled(house: Any) -> None:
    assert house.overruled < 20


def test_no_constant_is_patched() -> None:
    """What a test needs otherwise is an argument, or a fact of a class."""
    found = {
        f"{path.relative_to(ROOT)}: {patch}"
        for path in (ROOT / "tests").rglob("*.py")
        for patch in PATCH.findall(path.read_text())
    }
    assert found == set()
