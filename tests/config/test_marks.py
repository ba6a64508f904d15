"""``+KEY=VALUE``, ``~KEY`` and a key that stands there twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from sde_diffusion.cli import with_task
from sde_diffusion.config.compose import compose_task
from sde_diffusion.config.marks import tell_repeated, unmarked
from tests.conftest import Run
from tests.refusals import named, refused


@pytest.mark.parametrize(
    ("word", "plain"),
    [
        ("+nfe=4", "nfe=4"), ("++nfe=4", "nfe=4"), ("+experiment=mnist", "experiment=mnist"),
        ("nfe=4", "nfe=4"), ("+solver.x=1", "+solver.x=1"), ("~solver.inner", "~solver.inner"),
        ("+solver@a=heun", "+solver@a=heun"), ("prompt=a + b", "prompt=a + b"),
    ],
)  # fmt: skip
def test_a_mark_before_a_key_of_the_task_makes_no_difference(word: str, plain: str) -> None:
    """``+data=mnist`` added a group to a task that has none, and nothing came of it."""
    assert unmarked([word]) == [plain]


@pytest.mark.parametrize("word", ["~nfe", "~nfe=4", "~guidance", "~nosuch"])
def test_a_key_of_a_task_is_not_taken_away(word: str) -> None:
    """The composer said of keys whose value is null that they did not exist."""
    name = word[1:].partition("=")[0]
    with refused(f"~{name}", f"leave ~{name} out", f"{name}="):
        unmarked([word])


def test_a_key_given_twice_is_said() -> None:
    told: list[str] = []
    tell_repeated(["n=1", "nfe=4", "n=1", "+nfe=6", "solver=heun", "solver=ddim"], told.append)
    assert told == [
        "nfe=6: nfe=4 is given too; the last one counts",
        "solver=ddim: solver=heun is given too; the last one counts",
    ]


def test_the_last_one_counts() -> None:
    words = with_task(["sample", "nfe=4", "solver=heun", "nfe=6", "solver=ddim"])
    config = compose_task(words)
    assert config.nfe == 6
    assert "DDIM" in config.solver._target_


@pytest.mark.parametrize(
    ("words", "key", "remedy"),
    [
        ("~solver.nosuch", "~solver.nosuch", "leave ~solver.nosuch out"),
        ("+solver.order=1", "+solver.order", "solver.order=VALUE"),
        ("+solver@second=heun", "grid: chosen twice", "override /grid"),
        ("solver.eta=1", "solver.eta: unknown key", "solver="),
        ("+data=mnist", "data: unknown key", "lists the keys"),
        ("experiment=mnist", "experiment=mnist: sets data", "sde-diffusion train experiment=mnist"),
        ("guidance=[cfg,cfg]", "guidance=[cfg,cfg]: cfg twice", "give each once"),
        ("-p x", "-p", "KEY=VALUE"),
    ],
)
def test_what_the_composer_stumbles_over_says_what_to_type(
    words: str, key: str, remedy: str, quick_cli: Run
) -> None:
    done = quick_cli("sample", "n=1", "nfe=2", *words.split(), ok=False)
    assert done.returncode == 2
    named(done.stderr.removeprefix("sde-diffusion: "), key, remedy)


RECIPES = {
    "kept": ("nfe: 2\nn: 1\n", "experiment: its yaml sets nfe, n", "# @package _global_"),
    "listed": ("# @package _global_\n- a\n", "experiment/listed: its yaml", "KEY: VALUE"),
    "tab": ("# @package _global_\nnfe:\t2\n", "config: not read", "mend that yaml"),
    "twice": (
        "# @package _global_\ndefaults:\n  - /solver: heun\n", "solver: chosen twice", "override",
    ),
    "mark": ("\ufeff# @package _global_\nn: 1\n", "experiment: its yaml sets n", "nothing before"),
    "lost": ("# @package _global_\nn: ${nosuch}\n", "n: Interpolation", "backslash"),
}  # fmt: skip


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_that_is_not_read_says_why(name: str, quick_cli: Run, tmp_path: Path) -> None:
    """One without the first line set nothing, in silence."""
    content, key, remedy = RECIPES[name]
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    (folder / f"{name}.yaml").write_text(content)
    words = ["--config-dir", "mine", f"experiment={name}"]
    done = quick_cli("sample", *words, ok=False)
    assert done.returncode == 2
    named(done.stderr.removeprefix("sde-diffusion: "), key, remedy)


@pytest.mark.parametrize(
    ("words", "key", "remedy"),
    [
        ("--config-dir nosuch", "--config-dir=", "give one"),
        ("--config-name nosuch", "--config-name=nosuch", "--config-dir=FOLDER"),
        ("hydra.run.dir=[a]", "hydra.run.dir=[a]", "hydra.run.dir=FOLDER"),
        ("hydra.sweep.dir=x", "hydra.sweep.dir=x", "hydra.run.dir=x"),
        ("-m hydra.run.dir=x", "hydra.run.dir=x", "hydra.sweep.dir=x"),
        ("-m solver=ddim,unipc solver.order=2 hydra.sweep.dir=x", "solver.order", "unipc"),
    ],
)
def test_folders_and_fields_that_would_count_for_nothing(
    words: str, key: str, remedy: str, quick_cli: Run
) -> None:
    """The folder of one job was passed over by a multirun, and that of a multirun by one job."""
    done = quick_cli("sample", "n=1", "nfe=2", *words.split(), ok=False)
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    named(line.removeprefix("sde-diffusion: "), key, remedy)


def test_both_folders_may_be_given() -> None:
    for flags in ([], ["-m"]):
        assert with_task(["sample", "hydra.run.dir=a", "hydra.sweep.dir=b", *flags])


def test_a_key_given_twice_is_said_of_jobs_that_begin(quick_cli: Run) -> None:
    """It stood before a refusal, which is one line; so did what is said of the extractor."""
    refusal = quick_cli(
        "compare", "checkpoint=shapes", "prompts=none.txt", "nfe=[3]", "nfe=[4]", ok=False
    )
    named(refusal.stderr, "sde-diffusion: prompts=none.txt", "give one")
    begun = quick_cli("sample", "n=1", "nfe=3", "nfe=2", "solver=ddim", "noise=brownian")
    lines = begun.stderr.splitlines()
    assert "nfe=2: nfe=3 is given too; the last one counts" in lines
    assert any(line.startswith("noise=brownian: has no effect") for line in lines)
