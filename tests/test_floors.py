"""The lowest versions that pyproject.toml allows."""

from __future__ import annotations

import pytest

from tests.floors import floors, named

PROJECT = """
[project]
name = "a"
dependencies = ["torch>=2.6", "numpy>=1.26,<3"]
[project.optional-dependencies]
test = ["pytest[x]>=8", "numpy>={numpy}"]
"""


def test_each_dependency_has_its_floor_and_torch_is_the_tested_one() -> None:
    found = floors(PROJECT.replace("{numpy}", "1.26"), "numpy==2.4.6\ntorch==2.13.0\n")
    assert found == {"torch": "2.13.0", "numpy": "1.26", "pytest": "8"}


def test_two_floors_of_one_name_are_named() -> None:
    with pytest.raises(ValueError, match="numpy>=2: give one lower bound"):
        floors(PROJECT.replace("{numpy}", "2"), "torch==2.13.0\n")


def test_every_dependency_of_this_package_has_a_floor() -> None:
    assert {"numpy", "scipy", "wandb", "onnx", "diffusers", "pydicom"} <= set(named())
