"""What the shell is offered for a line as it is typed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sde_diffusion.config import samplers
from sde_diffusion.config.completion import BASH, DATA, as_overrides, parsed, written
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
    spaced = as_overrides('sde-diffusion sample sampler="DPM++ 2M')[1]
    assert "sampler=DPM++ 2M SDE" in spaced
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
    folders = ("sample-1", "sample-2", "two words")
    assert offered == [f"images=outputs/{name}/" for name in folders]
    for begun in (f"{tmp_path}/outputs/t", "./outputs/t", "./outputs/two\\ w", "'./outputs/two w"):
        line, (found,) = as_overrides(f"sde-diffusion evaluate images={begun}")
        assert found.endswith("outputs/two words/")
        assert line == "sde-diffusion task=evaluate images="
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


NAMES = ("two words", "o'clock", 'say "so"', "a$b`c`", "back\\slash", "[x](y) & z;", "ü ß", "~x")


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize("breaks", ["", " \t\n\"'><=;|&(:"])
def test_a_name_is_written_as_a_shell_reads_it(breaks: str) -> None:
    """Of any name: what is completed is one word of bash, and names the file."""
    lines, named = [], []
    for before in ("images=", 'images="', "images='", '"images=', "'images="):
        for name in NAMES:
            line = f"sde-diffusion evaluate {before}"
            typed = parsed(line, breaks)
            kept = len(line) if typed.begun else line.rindex(" ") + 1 + len(typed.quote)
            lines.append(line[:kept] + written(f"images={name}", typed) + typed.quote)
            named.append(f"evaluate|images={name}")
            assert parsed(lines[-1]).last == f"images={name}"
    script = 'for line in "$@"; do eval "set -- $line"; shift; (IFS="|"; printf "%s\\n" "$*"); done'
    done = subprocess.run(["bash", "-c", script, "bash", *lines], capture_output=True, text=True)
    assert done.stdout.splitlines() == named, done.stderr


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_names_with_spaces(tmp_path: Path) -> None:
    """A line, completed and read by bash itself; words with spaces may stand before."""
    (tmp_path / "my folder").mkdir()
    command = tmp_path / "bin" / "sde-diffusion"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sde_diffusion.cli "$@"\n')
    command.chmod(0o755)
    script = f"""{BASH}
        for COMP_LINE in "$@"; do
            COMP_POINT=${{#COMP_LINE}} COMP_WORDS=(sde-diffusion)
            _sde_diffusion
            printf '%s|' "${{#COMPREPLY[@]}}"
            eval "set -- $TYPED${{COMPREPLY[0]}}"
            printf '%s\\n' "${{@: -1}}"
        done"""
    environment = {
        **os.environ,
        "PATH": f"{command.parent}:{os.environ['PATH']}",
        "TYPED": "images=",
    }
    done = subprocess.run(
        ["bash", "-c", script, "bash", "sde-diffusion evaluate images=my",
         "sde-diffusion edit prompt='a b' images=my\\ fo"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["1|images=my folder/"] * 2, done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_script_for_the_shell_is_printed(cli: Run, shell: str) -> None:
    assert "_sde_diffusion()" in cli("-sc", f"install={shell}").stdout
    assert "unset -f" in cli("-sc", "uninstall=bash").stdout
    assert "hydra_fish_completion" in cli("-sc", "install=fish").stdout
