"""What is typed on the command line comes to the composer as it was meant."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from sde_diffusion.cli import with_task
from sde_diffusion.config.compose import compose_task
from sde_diffusion.config.groups import names
from sde_diffusion.config.schema import hints, items_of
from sde_diffusion.config.words import readable, split, takes_list
from sde_diffusion.errors import InputError
from tests.conftest import Run


def parsed(word: str) -> Any:
    """The value that the composer reads."""
    (found,) = readable([word])
    return OverridesParser.create().parse_override(found).value()


NAMES = [
    "my photos (1)", "step=100", "größe", "run#1", "a;b", "a&b", "100%", "写真", "it's", 'say "so"',
    "C:\\data\\", 'a\\"b c', "f(x)", "{a b", "a]b", "a, b (c)", "~/x y", "!", "@", "*?", "a=b=c",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_path_may_have_any_letters(name: str) -> None:
    """As ``Path`` will have it: 'in/' before it."""
    assert str(parsed(f"images=in/{name}")) == f"in/{name}"


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("n=4", 4), ("n = 4", 4), ("lr=1e-3", 1e-3), ("nfe=[4, 6]", [4, 6]), ("label=null", None),
        ('images="a b"', "a b"), ("images='a b'", "a b"), ("solvers=[{r: {solver: ddim}}]",
         [{"r": {"solver": "ddim"}}]), ("images=", ""), ("a.b=${c}", "${c}"),
    ],
)  # fmt: skip
def test_what_was_read_before_is_read_the_same(word: str, value: Any) -> None:
    found = parsed(word)
    assert (str(found) if isinstance(value, str) else found) == value or found.text == value


WRONG = [
    "[[heun]]", "${x}", "a b", "{a:1}", "1e11", "7", "-1", "nan", "true", "[heun,${x}]", "'1 2'",
]  # fmt: skip


@pytest.mark.parametrize("value", WRONG)
@pytest.mark.parametrize("group", ["solver", "operator", "guidance", "tracker"])
def test_a_choice_that_can_be_no_name_lists_the_names(group: str, value: str) -> None:
    """At which the composer ended in errors of its own, which named no key."""
    with pytest.raises(InputError) as caught:
        readable([f"{group}={value}"])
    assert str(caught.value).startswith(f"{group}={value}: no such choice; choose one of ")
    assert str(caught.value).endswith(names(group)[-1])


@pytest.mark.parametrize(
    "value", ["heun", "'heun'", '"heun"', "[]", "[cfg,clip]", '["cfg"]', "a/b-c.d"]
)
def test_names_are_chosen_as_before(value: str) -> None:
    assert readable([f"guidance={value}"]) == [f"guidance={value}"]


def test_a_sweep_quotes_value_by_value() -> None:
    assert readable(["images=in/größe,in/x"], several=True) == ['images="in/größe",in/x']
    assert readable(["images=in/größe,in/x"]) == ['images="in/größe,in/x"']


def test_flags_and_keys_are_told_apart() -> None:
    argv = [
        "sample",
        "--n=4",
        "-m",
        "--cfg",
        "job",
        "--config-dir=conf",
        "--solver.order=3",
        "label=1",
        "-n=5",
    ]
    assert split(argv) == (
        ["-m", "--cfg", "job", "--config-dir=conf"],
        ["sample", "n=4", "solver.order=3", "label=1", "n=5"],
    )


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--mulitrun"], "--mulitrun: no such flag; did you mean --multirun?"),
        (["--n", "4"], "--n: no such flag; .*a key is given as n=VALUE"),
        (["-x"], "-x: no such flag"),
    ],
)
def test_a_flag_that_is_none(argv: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        split(argv)


@pytest.mark.parametrize("word", ["grid=null", "sde=", "solver=None", "tracker=null"])
def test_no_choice_of_a_group_says_which_there_are(word: str) -> None:
    group = word.partition("=")[0]
    with pytest.raises(InputError) as caught:
        readable([word])
    assert str(caught.value).startswith(f"{word}: no choice; give one of ")
    assert all(name in str(caught.value) for name in names(group))


def test_a_list_is_to_be_quoted_by_the_shell() -> None:
    with pytest.raises(InputError, match=r"solvers=\[ddim,: not read; quote it as a whole"):
        readable(["solvers=[ddim,", "unipc]"])
    with pytest.raises(InputError, match="not read"):
        readable([f"solvers={'[' * 3000}"])


def test_the_command_line_reads_them(quick_cli: Run, tmp_path: Path) -> None:
    done = quick_cli("evaluate", "images=my photos (1)/größe", ok=False)
    assert done.returncode == 2
    assert "images=my photos (1)/größe: " in done.stderr
    done = quick_cli("sample", "--n=0", ok=False)
    assert "n=0: give 1 <= n" in done.stderr
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    broken = tmp_path / "conf" / "experiment" / "broken.yaml"
    broken.write_text("# @package _global_\nn: [1,\n  - b")
    done = quick_cli("sample", "-cd", str(tmp_path / "conf"), "experiment=broken", ok=False)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "broken.yaml" in done.stderr


LAUGHS = "a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha]\n" + "".join(
    f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 8)}]\n" for k in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (LAUGHS, "stands for more than"),
        (f"a: {'[' * 500}{']' * 500}\n", "nested more than"),
        ("a: &a [*a]\n", "stands for more than"),
        (f"n: {'1' * 2**20}\n", "bytes, more than"),
    ],
    ids=["a billion laughs", "deep", "itself", "long"],
)
def test_a_folder_of_configs_takes_neither_memory_nor_time(
    tmp_path: Path, text: str, says: str
) -> None:
    (tmp_path / "experiment").mkdir()
    path = tmp_path / "experiment" / "laughs.yaml"
    for flags in (["-cd", str(tmp_path)], [f"--config-dir={tmp_path}"]):
        path.write_text("# @package _global_\nseed: &s 3\nbatch_size: *s\n")
        assert with_task(["sample", *flags])[-1] == "task=sample"
        path.write_text(text)
        with pytest.raises(InputError) as caught:
            with_task(["sample", *flags, "experiment=laughs"])
        line = str(caught.value)
        assert line.startswith(f"{path}: not read (")
        assert says in line
        assert "\n" not in line


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["sample", "label=3,4"], "label=3,4: several values; give a list, 'label=[3,4]', or"),
        (["sample", "n=range(1,3)"], "n=range(1,3): several values; give one of them, or add"),
        (["sample", "nfe=4,8"], "nfe=4,8: several values; give one of them, or add"),
        (["sample", "device=cpu,cuda"], "device=cpu,cuda: several values; give one of them"),
        (["sample", "guidance.cfg.scale=1,2"], "guidance.cfg.scale=1,2: several values; give one"),
        (["nfe=4,8"], "nfe=4,8: several values; give a list, 'nfe=[4,8]', or add -m"),
        (["solvers=ddim,heun"], "solvers=ddim,heun: several values; give a list, 'solvers=[ddim,"),
        (["evaluate", "samples=9,8"], "samples=9,8: several values; give a list, 'samples=[9,8]'"),
        (["train", "network.widths=8,9"], "network.widths=8,9: several values; give a list"),
        (["sample", "prompt=a", "red", "ring", "n=2"],
         "red: no override; a value with spaces is quoted as a whole, 'prompt=a red ring'"),
        (["sample", "hydra.run.dir="], "hydra.run.dir=: an empty path; give a folder"),
        (["inspect", "mnist"], "mnist: no override; give checkpoint=mnist"),
        (["sample", "compare"], "compare: sample is the task already"),
        (["sample", "n=2", "compare"], "compare: sample is the task already"),
        (["sample", "solver", "=", "ddim"], "=: no override; a key is given as solver=VALUE"),
        (["sample", "=3"], "=3: no override"),
        (["sample", "n:1"], "n:1: no override; a key is given as KEY=VALUE"),
        (["sample", "--", "n=1"], "--: no override"),
        (["edit", "operator=[]"], "operator=[]: no choice; give one of box, "),
        (["sample", "solver={unipc:{order:3}}"],
         "solver={unipc:{order:3}}: type solver=unipc solver.order=3"),
    ],
)  # fmt: skip
def test_what_the_composer_would_answer_for_is_answered_here(words: list[str], line: str) -> None:
    with pytest.raises(InputError) as caught:
        with_task(words)
    assert str(caught.value).startswith(line)


@pytest.mark.parametrize("task", names("task"))
def test_a_list_is_named_where_the_task_takes_one(task: str) -> None:
    module = importlib.import_module(f"sde_diffusion.tasks.{task}")
    if hasattr(module, "__path__"):
        module = importlib.import_module(f"sde_diffusion.tasks.{task}.task")
    (schema,) = [
        kind
        for name, kind in vars(module).items()
        if name in (f"{task.capitalize()}Task", "TrainConfig") and dataclasses.is_dataclass(kind)
    ]
    for key, annotation in hints(schema).items():
        if annotation is not Any:  # of which the task itself says what may stand there
            assert takes_list(key, task) == (items_of(annotation) is not None), key


def test_what_those_lines_say_to_type_is_read() -> None:
    assert parsed("label=[3,4]") == [3, 4]
    assert readable(["label=3,4"], several=True) == ["label=3,4"]
    assert readable(["solver=ddim,unipc"], several=True) == ["solver=ddim,unipc"]
    assert with_task(["sample", "solver=unipc", "solver.order=3", "~solver.order"])


def test_a_home_that_no_shell_has_put_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell leaves ``images=~/a`` as it is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/of us")
    assert parsed("images=~/a b") == "/home/of us/a b"
    assert parsed("label=~") == "~"
    assert parsed("images=in/~/a") == "in/~/a"
    (tmp_path / "~").mkdir()
    assert parsed("images=~/a") == "~/a"


def test_a_path_with_a_comma_is_one_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that is not there yet, where a job is to write."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a,b").mkdir()
    assert readable(["images=a,b", "hydra.run.dir=out,1"]) == [
        'images="a,b"',
        'hydra.run.dir="out,1"',
    ]


@pytest.mark.parametrize(
    ("typed", "flags"),
    [
        (["sample", "--info"], ["--info=all"]),
        (["--info", "sample"], ["--info=all"]),
        (["sample", "-i", "defaults"], ["--info=defaults"]),
        (["--info=plugins", "sample"], ["--info=plugins"]),
    ],
)
def test_what_a_task_is_composed_of_is_asked_before_or_behind_it(
    typed: list[str], flags: list[str]
) -> None:
    assert split(typed) == (flags, ["sample"])


@pytest.mark.parametrize("words", [["solver.order=3"], ["solver=unipc", "solver.order=3"]])
def test_a_solver_of_a_comparison_says_what_to_type(words: list[str]) -> None:
    with pytest.raises(InputError, match=r"type 'solvers=\[\{mine:\{solver:unipc,order:3\}\}\]'"):
        compose_task(["task=compare", *words])
    assert compose_task(["task=compare", "solvers=[{mine:{solver:unipc,order:3}}]"]).solvers


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("solver=Euler a", "Euler a"),
        ('solver="DPM++ SDE"', r"DPM\+\+ SDE"),
        ("solver=euler", "Euler"),
    ],
)
def test_a_sampler_of_other_programs_given_as_a_solver(word: str, name: str) -> None:
    with pytest.raises(InputError, match=f"a sampler of other programs; give sampler='{name}'"):
        readable([word])
