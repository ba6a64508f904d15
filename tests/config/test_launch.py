"""Where the jobs of a multirun run, and who chooses them: configs of Hydra's own plug-ins."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

from sde_diffusion.config.compose import PLUGINS, ROOT
from sde_diffusion.config.groups import conf_dir
from sde_diffusion.config.yaml_files import load
from tests.conftest import Run

CONF = Path(conf_dir())
CHOICES = [f"{p.parent.name}={p.stem}" for g in ("launch", "search") for p in (CONF / g).iterdir()]
PART = {"launch": "launcher", "search": "sweeper"}


def chosen(choice: str) -> str:
    """The choice of Hydra's own group that a config makes, ``hydra/launcher/joblib``."""
    group, _, name = choice.partition("=")
    key = f"override /hydra/{PART[group]}"
    defaults = load(CONF / group / f"{name}.yaml")["defaults"]
    return f"hydra/{PART[group]}/{next(entry[key] for entry in defaults if key in entry)}"


def module(package: str) -> str:
    return f"hydra_plugins.{package.replace('-', '_')}"


def installed(package: str) -> bool:
    there = importlib.util.find_spec("hydra_plugins") is not None
    return there and importlib.util.find_spec(module(package)) is not None


def given(choice: str) -> dict[str, object]:
    """The fields that a config gives to the plug-in."""
    group, _, name = choice.partition("=")
    fields: dict[str, object] = load(CONF / group / f"{name}.yaml")["hydra"][PART[group]]
    return fields


def hydra_part(choice: str) -> dict[str, object]:
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        config = compose(ROOT, ["task=sample", choice], return_hydra_config=True)
    part: dict[str, object] = config.hydra[PART[choice.partition("=")[0]]]
    return part


@pytest.mark.parametrize("choice", CHOICES)
def test_a_config_chooses_a_plug_in_and_sets_its_fields(
    choice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    group, name = chosen(choice).rsplit("/", 1)
    Plugins.instance()  # registers those that are installed, which a stand-in then replaces
    store = ConfigStore.instance()
    monkeypatch.setattr(store, "repo", json_like(store.repo))
    store.store(name, {"_target_": "stand.in"}, group=group)
    part = hydra_part(choice)
    assert part["_target_"] == "stand.in"
    assert {key: part[key] for key in given(choice)} == given(choice)


def json_like(repo: dict[str, object]) -> dict[str, object]:
    """A copy of the folders of the store, whose nodes are the same."""
    return {k: json_like(v) if isinstance(v, dict) else v for k, v in repo.items()}


@pytest.mark.parametrize("choice", CHOICES)
def test_what_is_not_installed_is_one_line_with_the_package(choice: str, quick_cli: Run) -> None:
    package = PLUGINS[chosen(choice)]
    if installed(package):
        pytest.skip(f"{package} is installed")
    done = quick_cli("sample", "-m", choice, "nfe=2,4", ok=False)
    assert done.returncode == 2
    group, name = chosen(choice).rsplit("/", 1)
    assert done.stderr == f"sde-diffusion: {group}={name}: not installed; pip install {package}\n"


@pytest.mark.parametrize("choice", CHOICES)
def test_the_plug_in_takes_what_its_config_says(choice: str) -> None:
    pytest.importorskip(module(PLUGINS[chosen(choice)]))
    part = hydra_part(choice)
    assert {key: part[key] for key in given(choice) if key != "sampler"} == {
        key: value for key, value in given(choice).items() if key != "sampler"
    }


@pytest.mark.slow
@pytest.mark.parametrize("choice", ["launch=joblib", "launch=local", "launch=ray"])
def test_jobs_of_other_processes_are_joined_at_the_end(
    choice: str, cli: Run, tmp_path: Path, tiny_model: str
) -> None:
    pytest.importorskip(module(PLUGINS[chosen(choice)]))
    words = [f"checkpoint={tiny_model}", "n=2", "nfe=3,4", "hydra.sweep.dir=many"]
    done = cli("sample", "-m", choice, "solver=heun,ddim", *words, ok=False)
    assert done.returncode  # Heun takes even numbers
    rows = json.loads((tmp_path / "many" / "joined" / "results.json").read_text())["rows"]
    assert [(row["job"], row["nfe"]) for row in rows] == [("1", 4.0), ("2", 3.0), ("3", 4.0)]


@pytest.mark.slow
def test_what_a_search_makes_small_is_found(cli: Run, tmp_path: Path, tiny_model: str) -> None:
    pytest.importorskip(module("hydra-optuna-sweeper"))
    words = [f"checkpoint={tiny_model}", "n=2", "nfe=choice(2,3,5)", "hydra.sweep.dir=many"]
    cli("sample", "-m", "search=optuna", "hydra.sweeper.n_trials=6", "solver=ddim", *words)
    best = load(tmp_path / "many" / "optimization_results.yaml")
    rows = json.loads((tmp_path / "many" / "joined" / "results.json").read_text())["rows"]
    assert len(rows) == 6
    # What sample without an extractor returns is its evaluations.
    assert best["best_value"] == min(row["nfe"] for row in rows)
