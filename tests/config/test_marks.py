"""``+KEY=VALUE``, ``~KEY`` and a key that stands there twice."""

from __future__ import annotations

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
