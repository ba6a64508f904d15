"""Keys of one release ago go on, and say what is typed now."""

from __future__ import annotations

from pathlib import Path

import pytest

from sde_diffusion.config.compose import compose_task
from sde_diffusion.config.renamed import modern
from sde_diffusion.errors import InputError
from tests.conftest import Run

OLD = {
    "denoiser=karras": "parameterization=karras",
    "denoiser.args.sigma_data=0.7": "parameterization.sigma_data=0.7",
    "denoiser.sigma_min=0.01": "sigma_min=0.01",
    "denoiser.sigma_max=70": "sigma_max=70",
    "network.args.widths=[8,16]": "network.widths=[8,16]",
    "network.name=dit": "network._target_=sde_diffusion.networks.dit.DiT",
    "guidance.scale=2": "guidance.cfg.scale=2",
    "++guidance.scale=2": "++guidance.cfg.scale=2",
    "~denoiser": "~parameterization",
    "metrics=[kid]": "metric=[kid]",
}


@pytest.mark.parametrize("word", OLD)
def test_an_old_key_is_told_and_goes_on(word: str) -> None:
    lines: list[str] = []
    assert modern([word, "n=1"], lines.append) == [OLD[word], "n=1"]
    assert len(lines) == 1
    assert OLD[word] in lines[0]


def test_a_key_of_today_is_not_touched() -> None:
    words = [
        "solver.order=3",
        "sigma_min=0.1",
        "a=denoiser.args.x=3",
        "network=unet_mnist",
        "task=x",
    ]
    lines: list[str] = []
    assert modern(words, lines.append) == words
    assert not lines


def test_they_compose_to_the_same_config(capsys: pytest.CaptureFixture[str]) -> None:
    old = ["denoiser=karras", "denoiser.args.sigma_data=0.7", "network.args.blocks=3",
           "denoiser.sigma_max=70"]  # fmt: skip
    before = compose_task(["task=train", *old])
    assert len(capsys.readouterr().err.splitlines()) == len(old)
    assert before == compose_task(["task=train", *(OLD.get(word, word) for word in old[:2]),
                                   "network.blocks=3", "sigma_max=70"])  # fmt: skip
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["network.args={widths: [8]}"], "network.widths="),
        (["metrics=[{kid20: {metric: kid, blocks: 20}}]"], "type metric=[NAME"),
    ],
)
def test_what_is_not_one_word_more_says_how_it_is_said(words: list[str], says: str) -> None:
    with pytest.raises(InputError) as caught:
        compose_task(["task=train", *words])
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


OLD_RECIPES = {
    "group": "defaults:\n  - override /denoiser: karras\n  - _self_\nsteps: 5\n",
    "keys": "denoiser:\n  args:\n    sigma_data: 0.5\n",
}


@pytest.mark.parametrize("name", OLD_RECIPES)
def test_an_old_recipe_of_ones_own_is_told_what_to_write(
    name: str, quick_cli: Run, tmp_path: Path
) -> None:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    path = tmp_path / "mine" / "experiment" / "old.yaml"
    path.write_text(f"# @package _global_\n{OLD_RECIPES[name]}")
    done = quick_cli("--config-dir", "mine", "train", "experiment=old", "data=digits", ok=False)
    assert "this group is called parameterization now" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
