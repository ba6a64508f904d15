"""Output folders: a job finds its own, also where an earlier revision named it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from sde_diffusion.config import yaml_files
from sde_diffusion.config.compose import compose_task
from sde_diffusion.config.folders import folder_of, modern, same
from sde_diffusion.system.identity import identity

HERE = Path(__file__).parents[1] / "revisions" / "7a19cb7"
COMMANDS: dict[str, dict[str, Any]] = json.loads((HERE / "commands.json").read_text())["commands"]


def job(*words: str) -> dict[str, Any]:
    """The config of a command, unresolved."""
    task, *others = words
    content = OmegaConf.to_container(compose_task([f"task={task}", *others]), resolve=False)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def kept(command: str) -> dict[str, Any]:
    """The config that 7a19cb7 kept of a command."""
    folder = HERE / "folders" / "finished" / COMMANDS[command]["folder"]
    return yaml_files.load(folder / ".hydra" / "config.yaml")


def content(given: dict[str, Any]) -> dict[str, Any]:
    found = identity({k: v for k, v in given.items() if k not in ("hydra", "tracker")})
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_a_config_of_7a19cb7_is_that_of_the_same_words_today(command: str) -> None:
    now = content(job(*COMMANDS[command]["words"]))
    assert same(modern(kept(command)), now)


@pytest.mark.parametrize("command", COMMANDS)
def test_of_no_other_job(command: str) -> None:
    others = [name for name in COMMANDS if name != command]
    now = content(job(*COMMANDS[command]["words"]))
    assert not any(same(modern(kept(other)), now) for other in others)


CHANGED = {
    "train": ["network.widths=[8]", "augment=[]", "sigma_max=70", "data.split=test", "seed=1"],
    "compare-fields": ["guidance.cfg.scale=3", "guidance=[clip,cfg]", "metric=[kid]",
                       "metric.energy.most=100", "guidance.clip.low=-2", "noise=seeds"],
    "calibrate": ["budget=3", "guidance=cfg"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("command", "word"), [(command, word) for command, words in CHANGED.items() for word in words]
)
def test_what_is_changed_is_another_job(command: str, word: str) -> None:
    now = content(job(*COMMANDS[command]["words"], word))
    assert not same(modern(kept(command)), now)


def test_a_key_that_is_new_has_its_default_in_an_older_job() -> None:
    now = content(job(*COMMANDS["sample"]["words"]))
    older = modern(kept("sample"))
    assert same({k: v for k, v in older.items() if k != "batch_size"}, now)
    assert not same({k: v for k, v in older.items() if k != "batch_size"}, now | {"batch_size": 7})
    assert not same({k: v for k, v in older.items() if k != "nfe"}, now)  # 3 is not its default
    assert not same(older | {"gone": 1}, now)


def test_a_field_that_is_new_has_its_default_in_an_older_component() -> None:
    words = ["sample", "solver=heun", "solver.s_noise=1.0"]
    now = content(job(*words))
    older = json.loads(json.dumps(now))
    del older["solver"]["s_noise"]
    assert same(older, now)
    assert not same(older, content(job(*words[:2], "solver.s_noise=1.1")))


def test_the_folder_of_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mine = job("sample", "n=3")
    own, older = folder_of(mine)
    assert not older
    assert own.parent == Path("outputs")
    assert own.name.startswith("sample-")
    assert folder_of({**mine, "tracker": "other", "hydra": {}})[0] == own
    assert folder_of(job("sample", "n=4"))[0] != own
    # An earlier revision's is found among others, and among folders that are none of ours.
    shutil.copytree(HERE / "folders" / "finished" / "outputs", "outputs")
    for name, text in {
        "sample-torn": "a: [1",
        "sample-list": "- a",
        "sample-odd": "network: 3",
    }.items():
        (tmp_path / "outputs" / name / ".hydra").mkdir(parents=True)
        (tmp_path / "outputs" / name / ".hydra" / "config.yaml").write_text(text)
    for command in COMMANDS:
        found = folder_of(job(*COMMANDS[command]["words"]))[0]
        assert found == Path(COMMANDS[command]["folder"])
    assert folder_of(mine) == (own, False)
    # Its own comes first.
    theirs = job(*COMMANDS["train"]["words"])
    found, older = folder_of(theirs)
    assert older
    shutil.rmtree(found)
    named, older = folder_of(theirs)
    assert not older
    shutil.copytree(HERE / "folders" / "finished" / found, found)
    named.mkdir()
    assert folder_of(theirs) == (named, False)
