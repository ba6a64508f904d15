"""What the shell is offered for a line as it is typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from sde_diffusion.config import samplers
from sde_diffusion.config.completion import DATA, as_overrides
from sde_diffusion.data.load import NAMED
from sde_diffusion.system.storage import shipped
from tests.conftest import Run


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("sample solver=dp", "solver=dpmpp_2m"),
        ("sample checkpoint=sh", "checkpoint=shapes"),
        ("train data=fo", "data=folder"),
        ("comp", "compare"),
        ("-m comp", "compare"),
        ("", "train"),
        ("task=sample solver=dp", "solver=dpmpp_2m"),
        ("sample sampler=DPM++_2M_K", "sampler=DPM++_2M_Karras"),
        ("sample sampler=\"DPM++ 2M Karras\" prompt='a b' solver=dp", "solver=dpmpp_2m"),
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


def test_every_sampler_is_offered_and_means_itself() -> None:
    """Without spaces, at which a shell parts words: signs make no difference in a name."""
    methods, _, _ = samplers.table()
    _, offered = as_overrides("sde-diffusion sample sampler=")
    found = [samplers.find(word.partition("=")[2]).method for word in offered]
    assert [part.name for part in found] == list(dict.fromkeys(part.name for part in methods))
    for word in as_overrides("sde-diffusion sample sampler=DPM++_2M_")[1]:
        assert samplers.find(word.partition("=")[2]).name.replace(" ", "_") in word
    assert as_overrides('sde-diffusion sample sampler="DPM++ 2M')[1] == []
    assert (
        as_overrides('sde-diffusion sample sampler="DPM++ 2M')[0]
        == "sde-diffusion task=sample sampler="
    )


def test_files_are_offered_where_a_path_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("outputs/sample-1", "outputs/sample-2", "outputs/two words", "dpm"):
        (tmp_path / name).mkdir(parents=True)
    offered = as_overrides("sde-diffusion evaluate images=outputs/")[1]
    assert offered == ["images=outputs/sample-1/", "images=outputs/sample-2/"]
    assert as_overrides("sde-diffusion sample checkpoint=out")[1] == ["checkpoint=outputs/"]
    assert as_overrides("sde-diffusion sample solver=dp")[1] == []  # a group: no file
    assert as_overrides("sde-diffusion sample layout=")[1] == []


def test_names_are_offered_beside_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a path may stand, of models that are shipped and data sets that a name opens."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist-mine.safetensors").touch()
    for task in ("sample", "compare", "edit", "inspect"):
        offered = as_overrides(f"sde-diffusion {task} checkpoint=mn")[1]
        named = [f"checkpoint={name}" for name in shipped() if name.startswith("mn")]
        assert offered == [*named, "checkpoint=mnist-mine.safetensors"]
        every = as_overrides(f"sde-diffusion {task} checkpoint=")[1]
        assert every == [f"checkpoint={name}" for name in shipped()]
    assert as_overrides("sde-diffusion task=train init=sc")[1] == ["init=scans"]
    assert as_overrides("sde-diffusion evaluate images=di")[1] == ["images=digits"]
    assert as_overrides("sde-diffusion sample reference=di")[1] == []  # there a texture
    assert tuple(sorted(NAMED)) == DATA


def test_the_script_for_the_shell_is_printed(cli: Run) -> None:
    assert "complete -o nospace" in cli("-sc", "install=bash").stdout
