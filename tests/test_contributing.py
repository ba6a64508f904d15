"""CONTRIBUTING does what it says: its files are typed into a copy, its commands are run.

A path in backquotes before a block is the file that the block is.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from sde_diffusion.models.file import read_checkpoint

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
BLOCK = re.compile(r"`([\w./]+\.\w+)`[^`\n]*:\n\n```\w+\n(.*?)```", re.DOTALL)
FILES = dict(BLOCK.findall(TEXT.replace("`pyproject.toml` of the package:", "`pyproject.toml`:")))


def typed(folder: Path, *starts: str) -> None:
    """The page's files below ``starts``, where it says that they stand."""
    for name, text in FILES.items():
        if name.startswith(starts):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)


def command(folder: Path, words: list[str], first: Path, status: int = 0) -> str:
    """What a command prints, in ``folder``, where the packages in ``first`` go before all others.

    Of one that fails with ``status``: the fault that it prints.
    """
    environment = {**os.environ, "WANDB_MODE": "offline", "PYTHONDONTWRITEBYTECODE": "1"}
    environment["PYTHONPATH"] = ":".join([str(first), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == status, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stderr if status else done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This repository, with the page's solver, metric and guidance typed in."""
    folder = tmp_path_factory.mktemp("copy")
    cached = shutil.ignore_patterns("__pycache__")
    for name in ("sde_diffusion", "conf", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=cached)
    shutil.copy(ROOT / "pyproject.toml", folder)
    typed(folder, "sde_diffusion/", "conf/", "tests/")
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's package as an installer lays it out, without the yaml of its network."""
    folder = tmp_path_factory.mktemp("site")
    typed(folder, "your_package/")
    (folder / "your_package" / "__init__.py").touch()
    (folder / "your_package" / "conf" / "network" / "wide.yaml").unlink()
    project = tomllib.loads(FILES["pyproject.toml"])["project"]
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    info = folder / "your_package-1.0.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text("\n".join(lines))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: your-package\nVersion: 1.0\n")
    return folder


def test_the_page_shows_every_file() -> None:
    assert set(FILES) == {
        "sde_diffusion/solvers/midpoint.py", "conf/solver/midpoint.yaml",
        "sde_diffusion/metrics/mean_shift.py", "conf/metric/mean_shift.yaml",
        "tests/metrics/test_mean_shift.py", "sde_diffusion/guidance/mirrored.py",
        "conf/guidance/mirrored.yaml", "tests/guidance/test_mirrored.py", "pyproject.toml",
        "your_package/solver.py", "your_package/conf/solver/fancy.yaml",
        "your_package/network.py", "your_package/conf/network/wide.yaml", "benchmarks/levels.py",
        "benchmarks/text/levels.md",
    }  # fmt: skip


def passed(copy: Path, suites: str, names: str) -> int:
    """How many tests of the copy pass, of those whose names match; all of them must."""
    words = ["pytest", *(f"tests/{suite}" for suite in suites.split()), "-k", names]
    options = ["-o", "addopts=--import-mode=importlib", "-q"]
    (count,) = re.findall(r"(\d+) passed", command(copy, [*words, *options], copy))
    return int(count)


def test_its_parts_are_held_to_what_they_declare(copy: Path) -> None:
    """The solver by its contract, every yaml by its class, metric and guidance by tests shown."""
    suites = "solvers/test_contract.py config/test_components.py metrics/test_mean_shift.py "
    names = "midpoint or mean_shift or mirrored"
    assert passed(copy, suites + "guidance/test_mirrored.py", names) >= 50


@pytest.mark.slow
def test_its_solver_passes_every_test(copy: Path) -> None:
    """All that knows of solvers, whether it asks each of them or not."""
    assert passed(copy, "solvers config revisions exact", "") > 3000


def says(words: str) -> list[str]:
    """The words of a command that the page shows."""
    assert words in " ".join(TEXT.split()), words
    return ["sde_diffusion.cli", *words.removeprefix("sde-diffusion ").split()]


def test_its_commands_run(copy: Path, tmp_path: Path, tiny_model: str) -> None:
    few = ["n=2", f"checkpoint={tiny_model}", "hydra.run.dir=out"]
    words = says("sde-diffusion sample guidance=[cfg,mirrored] label=7")
    command(tmp_path, [*words, "solver=midpoint", *few, "nfe=8"], copy)
    config = json.loads((tmp_path / "out" / "result.json").read_text())["config"]
    assert config["solver"] == {"_target_": "sde_diffusion.solvers.midpoint.Midpoint"}
    assert set(config["guidance"]) >= {"cfg", "mirrored"}


def test_its_comparison_writes_the_metric(copy: Path, tmp_path: Path, tiny_model: str) -> None:
    assert "sde-diffusion compare metric=[mean_shift]" in TEXT
    words = says("sde-diffusion compare solvers=[ddim,midpoint]")
    few = [f"checkpoint={tiny_model}", "nfe=[2]", "samples=[8]", "metric=[mean_shift]",
           "animation=false", "extractor=pixel", "extractor.height=8", "extractor.width=8",
           "reference=digits", "hydra.run.dir=out"]  # fmt: skip
    command(tmp_path, [*words, *few], copy)
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    assert [row["solver"] for row in rows] == ["ddim", "midpoint"]
    assert all(row["mean_shift"] > 0 for row in rows)


def test_its_benchmark_writes_a_page(tmp_path: Path) -> None:
    typed(tmp_path, "benchmarks/")
    shutil.copy(ROOT / "benchmarks" / "render.py", tmp_path / "benchmarks")
    subprocess.run(
        [sys.executable, "benchmarks/levels.py"], cwd=tmp_path, check=True,
        env={**os.environ, "PYTHONPATH": ":".join(filter(None, sys.path))},
    )  # fmt: skip
    page = (tmp_path / "benchmarks" / "levels.md").read_text()
    assert "| RectifiedFlow | 0.5 |" in page  # sigma / alpha = t / (1 - t)
    assert "at time 0.26." in page  # of VP: 9.95 t^2 + 0.1 t = log 2
    assert "- command: `python benchmarks/levels.py`" in page


TRAINED = ["steps=2", "save_every=2", "batch_size=4", "warmup=1", "hydra.run.dir=out"]


def test_a_package_adds_a_solver(site: Path, tmp_path: Path, tiny_model: str) -> None:
    words = says("sde-diffusion sample solver=fancy solver.theta=0.6")
    few = ["n=2", f"checkpoint={tiny_model}", "hydra.run.dir=out"]
    command(tmp_path, [*words, *few], site)
    config = json.loads((tmp_path / "out" / "result.json").read_text())["config"]
    assert config["solver"] == {"_target_": "your_package.solver.Fancy", "theta": 0.6}


def test_a_network_needs_no_yaml(site: Path, tmp_path: Path) -> None:
    words = says("sde-diffusion train data=digits network=tiny network.width=5")
    command(tmp_path, [*words, *TRAINED], site)
    spec, _ = read_checkpoint(tmp_path / "out" / "model.safetensors")
    assert (spec.network, spec.network_args) == ("tiny", {"channels": 1, "width": 5, "classes": 10})


def test_a_yaml_names_a_size(site: Path, tmp_path: Path) -> None:
    package = tmp_path / "site"
    shutil.copytree(site, package)
    typed(package, "your_package/conf/network/")
    words = ["sde_diffusion.cli", "train", "data=digits", "network=wide", *TRAINED]
    command(tmp_path, words, package)
    spec, _ = read_checkpoint(tmp_path / "out" / "model.safetensors")
    assert (spec.network, spec.network_args["width"]) == ("tiny", 7)


def test_a_network_that_does_not_load_is_one_line(site: Path, tmp_path: Path) -> None:
    package = tmp_path / "site"
    shutil.copytree(site, package)
    (package / "your_package" / "network.py").unlink()
    done = command(tmp_path, ["sde_diffusion.cli", "train", "network=tiny"], package, status=2)
    assert done.startswith("sde-diffusion: network")
    assert "your_package" in done
    assert done.count("\n") == 1
