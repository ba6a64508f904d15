"""Every task and recipe composes; a composed node is built as a name is."""

from __future__ import annotations

from pathlib import Path

import pytest

from sde_diffusion.config import groups
from sde_diffusion.config.compose import build, compose_task, read
from sde_diffusion.config.groups import conf_dir
from sde_diffusion.errors import InputError
from sde_diffusion.training.settings import BESIDE, TrainConfig

CONF = Path(conf_dir())


@pytest.mark.parametrize("task", [p.stem for p in sorted((CONF / "task").glob("*.yaml"))])
def test_every_task_composes(task: str) -> None:
    assert compose_task([f"task={task}"]).task == task


@pytest.mark.parametrize("name", [p.stem for p in sorted((CONF / "experiment").glob("*.yaml"))])
def test_every_experiment_composes(name: str) -> None:
    config = compose_task(["task=train", f"experiment={name}"])
    assert read(config, TrainConfig, *BESIDE).steps >= 1000


@pytest.mark.parametrize("group", ["guidance", "metric", "augment"])
def test_a_list_of_choices_holds_each_by_its_name(group: str) -> None:
    task = {"guidance": "sample", "metric": "compare", "augment": "train"}[group]
    names = groups.names(group)
    for chosen in (names, names[::-1]):
        config = compose_task([f"task={task}", f"{group}=[{','.join(chosen)}]"])
        assert list(config[group]) == chosen
        for name, node in config[group].items():
            component = build(node, f"{group}.{name}", groups.base(group))
            assert component.identity() == groups.make(group, name).identity()


def test_a_composed_node_and_a_name_are_one_object() -> None:
    config = compose_task(["task=sample", "solver=restart", "solver.low=[0.1]", "grid.rho=5"])
    solver, grid = build(config.solver, "solver"), build(config.grid, "grid")
    assert solver.identity() == groups.make("solver", "restart", low=[0.1]).identity()
    assert grid.identity() == groups.make("grid", "karras", rho=5.0).identity()


def test_levels_are_of_the_process_that_is_chosen() -> None:
    config = compose_task(["task=train", "levels=sde", "sde=vp", "sde.beta_max=18"])
    assert build(config.levels, "levels").sde.fields()["beta_max"] == 18


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["solver=unipcc"], "solver=unipcc: no such choice; did you mean unipc?"),
        (
            ["task=compare", "solver.order=3"],
            "solver.order: unknown key here; a comparison has a list of them; type "
            "'solvers=[{mine:{solver:unipc,order:3}}]'",
        ),
        (["task=compare", "metric=fid"], "metric=fid: no such choice; the Fréchet distance is"),
        (["task=smaple"], "task=smaple: no such choice; did you mean sample?"),
        (
            ["solver.ordr=3"],
            "solver.ordr: unknown key here; did you mean order? solver takes lower_order",
        ),
        (
            ["solver=heun", "solver.schurn=3"],
            "solver.schurn: unknown key here; did you mean s_churn? ",
        ),
        (["nef=3"], "nef: unknown key here; did you mean nfe?"),
        (["NFE=3"], "NFE: unknown key here; did you mean nfe?"),
        (["solver=DDIM"], "solver=DDIM: no such choice; did you mean ddim?"),
        (["grid=Karras-to-zero"], "grid=Karras-to-zero: no such choice; did you mean karras_to_"),
        (["solver.Order=3"], "solver.Order: unknown key here; did you mean order?"),
        (
            ["task=train", "data=npz", "data.path=x", "data.grey=true", "data.size=8"],
            "data.grey: unknown key here; data takes fit, path, size",
        ),
        (["task=compare", "grid.rho=5"], "grid.rho: unknown key here; each solver has its own"),
        (["nosuch=1"], "nosuch: unknown key here; 'sde-diffusion sample --help' lists"),
        (["sde.x=1"], "sde.x: unknown key here; sde takes no fields"),
        (["guidance.cfg.scale=2"], "guidance.cfg.scale: unknown key here; cfg is not chosen"),
        (["guidance=cfg", "guidance.cfg.scal=2"], "guidance.cfg.scal: unknown key here; did you"),
    ],
)
def test_what_is_misspelt_is_named(words: list[str], says: str) -> None:
    with pytest.raises(InputError) as caught:
        compose_task(["task=sample", *words])
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)
