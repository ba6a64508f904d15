"""Somebody else's package adds ``solver=fancy``; without its entry point it may not."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.conftest import Run

SOLVER = """
from sde_diffusion.solvers.ddim import DDIM

class Fancy(DDIM):
    def __init__(self, colour: str = "red") -> None:
        pass
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
ENTRY_POINTS = """[sde_diffusion.components]
fancy = fancy_solvers
"""


def install(site: Path, entry_point: bool, plugin: bool = False) -> dict[str, str]:
    """Lay the package out as an installer would; the environment that finds it."""
    files = {
        "fancy_solvers/__init__.py": "",
        "fancy_solvers/solver.py": SOLVER,
        "fancy_solvers/conf/__init__.py": "",
        "fancy_solvers/conf/solver/fancy.yaml": YAML,
        "fancy_solvers-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: fancy-solvers\n"
        "Version: 1.0\n",
    }
    if entry_point:
        files["fancy_solvers-1.0.dist-info/entry_points.txt"] = ENTRY_POINTS
    if plugin:
        files["hydra_plugins/fancy/__init__.py"] = PLUGIN
    for name, text in files.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    return {"PYTHONPATH": ":".join([str(site), *filter(None, sys.path)])}


COMMAND = ["sample", "solver=fancy", "solver.colour=blue", "n=2", "nfe=2", "hydra.run.dir=out"]


def test_a_third_party_solver_runs(cli: Run, tmp_path: Path) -> None:
    """By its entry point; a search path of the package's own does no harm."""
    cli(*COMMAND, env=install(tmp_path / "site", entry_point=True, plugin=True))
    config = json.loads((tmp_path / "out" / "result.json").read_text())["config"]
    assert config["solver"]["colour"] == "blue"


def test_a_third_party_solver_among_others(cli: Run, tmp_path: Path, tiny_model: str) -> None:
    solvers = "solvers=[ddim,{mine:{solver:fancy}}]"
    words = ["compare", f"checkpoint={tiny_model}", solvers, "nfe=[2]",
             "samples=[8]", "metric=[]", "animation=false", "extractor=pixel", "extractor.height=8",
             "extractor.width=8", "reference=digits", "hydra.run.dir=out"]  # fmt: skip
    cli(*words, env=install(tmp_path / "site", entry_point=True))
    cells = json.loads((tmp_path / "out" / "results.json").read_text())["provenance"]["cells"]
    parts = {cell["solver"]: cell["parts"]["solver"] for cell in cells}
    assert parts["mine"] == {"component": "fancy_solvers:Fancy", "colour": "green"}


def test_without_the_entry_point_it_is_refused(cli: Run, tmp_path: Path) -> None:
    done = cli(*COMMAND, ok=False, env=install(tmp_path / "site", entry_point=False, plugin=True))
    assert done.returncode != 0
    assert "fancy_solvers" in done.stderr
    assert "sde_diffusion.components" in done.stderr
    assert "Traceback" not in done.stderr
