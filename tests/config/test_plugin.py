"""Somebody else's package adds ``solver=fancy`` and runs; without its entry point it may not."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.conftest import Run

SOLVER = """
from sde_diffusion.solvers.ddim import DDIM

class Fancy(DDIM):
    def __init__(self, colour: str = "red") -> None:
        self.colour = colour
"""
PLUGIN = """
from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

class FancyPlugin(SearchPathPlugin):
    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append(provider="fancy", path="pkg://fancy_solvers.conf")
"""
YAML = """
defaults:
  - /grid@_global_.grid: karras
_target_: fancy_solvers.solver.Fancy
colour: green
"""


def install(site: Path, entry_point: bool) -> dict[str, str]:
    """Lay the package out as an installer would; the environment that finds it."""
    files = {
        "fancy_solvers/__init__.py": "",
        "fancy_solvers/solver.py": SOLVER,
        "fancy_solvers/conf/__init__.py": "",
        "fancy_solvers/conf/solver/fancy.yaml": YAML,
        "hydra_plugins/fancy/__init__.py": PLUGIN,
        "fancy_solvers-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: fancy-solvers\n"
        "Version: 1.0\n",
    }
    if entry_point:
        files["fancy_solvers-1.0.dist-info/entry_points.txt"] = (
            "[sde_diffusion.components]\nfancy = fancy_solvers\n"
        )
    for name, text in files.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    return {"PYTHONPATH": ":".join([str(site), *filter(None, sys.path)])}


COMMAND = ["sample", "solver=fancy", "solver.colour=blue", "n=2", "nfe=2", "hydra.run.dir=out"]


def test_a_third_party_solver_runs(cli: Run, tmp_path: Path) -> None:
    cli(*COMMAND, env=install(tmp_path / "site", entry_point=True))
    config = json.loads((tmp_path / "out" / "result.json").read_text())["config"]
    assert config["solver"]["colour"] == "blue"


@pytest.mark.parametrize("word", ["fancy_solvers", "sde_diffusion.components"])
def test_without_the_entry_point_it_is_refused(cli: Run, tmp_path: Path, word: str) -> None:
    done = cli(*COMMAND, ok=False, env=install(tmp_path / "site", entry_point=False))
    assert done.returncode != 0
    assert word in done.stderr
    assert "Traceback" not in done.stderr
