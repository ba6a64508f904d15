"""Every yaml of every group: it lists the arguments of a component, which can be read back."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Any

import pytest

import sde_diffusion
from sde_diffusion.config import groups
from sde_diffusion.config.schema import located
from sde_diffusion.config.words import RECIPES
from sde_diffusion.data import Digits
from sde_diffusion.errors import InputError
from sde_diffusion.process.grids import Karras
from sde_diffusion.process.sde import VP
from sde_diffusion.solvers.ddim import DDIM
from sde_diffusion.solvers.heun import Heun
from sde_diffusion.solvers.unipc import UniPC
from sde_diffusion.solvers.wrappers.restart import Restart
from sde_diffusion.system.identity import TARGET, Component, parameters
from sde_diffusion.system.names import name_of
from sde_diffusion.training.levels import LogUniform

CHOICES = [(group, name) for group in groups.BASES for name in groups.names(group)]
REQUIRED: dict[str, dict[str, Any]] = {
    "grid/explicit": {"levels": [80.0, 1.0, 0.002]},
    "extractor/pca": {"fit": "digits"},
    "extractor/dinov2": {"file": "nosuch"},
    "extractor/torchscript": {"file": "nosuch"},
    "data/folder": {"path": "nosuch"},
    "data/npz": {"path": "nosuch.npz"},
    "data/patches": {"path": "nosuch.png"},
    "data/vectors": {"path": "nosuch.npz"},
    "data/huggingface": {"name": "nosuch"},
}
BESIDE = {"sde": VP(), "levels": LogUniform()}
NEEDS_FILES = {"extractor/dinov2", "extractor/inception", "extractor/torchscript"}

each_choice = pytest.mark.parametrize(("group", "name"), CHOICES)


def test_there_is_a_yaml_for_every_group() -> None:
    folders = {path.name for path in Path(groups.conf_dir()).iterdir() if path.is_dir()}
    assert folders == {*groups.BASES, "task", "method", "sweep", *RECIPES}
    assert {group for group, _ in CHOICES} == set(groups.BASES)


@each_choice
def test_a_yaml_lists_every_argument(group: str, name: str) -> None:
    node = groups.node(group, name)
    cls = located(node.pop("_target_"), group, groups.base(group))
    assert set(node) == set(parameters(cls)) - set(groups.FROM_DATA.get(group, ()))


@each_choice
def test_a_component_can_be_shown_told_and_made_again(
    group: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SDE_DIFFUSION_INCEPTION", raising=False)
    given = REQUIRED.get(f"{group}/{name}", {})
    if f"{group}/{name}" in NEEDS_FILES:
        with pytest.raises(InputError, match=rf"^{group}[.=]"):
            groups.make(group, name, BESIDE, **given)
        return
    if group == "network":
        return  # tests/networks has smaller ones
    made = groups.make(group, name, BESIDE, **given)
    stated = {k: v for k, v in {**groups.node(group, name), **given}.items() if k != "_target_"}
    fields = made.fields()
    assert set(fields) == set(stated)
    for key, value in stated.items():
        plain = "_target_" not in str(value) and not str(value).startswith("${")
        assert not plain or fields[key] == value
    again = type(made)(**fields)
    assert again.identity() == made.identity()
    assert again.identity()["component"] == name_of(type(made))
    assert type(made).__name__ in repr(made)
    assert "\n" not in repr(made)


def test_no_constructor_takes_what_cannot_be_read_back() -> None:
    """Of all component classes of the package: no ``*args`` and ``**kwargs``."""
    for module in pkgutil.walk_packages(sde_diffusion.__path__, "sde_diffusion."):
        importlib.import_module(module.name)
    seen, todo = set(), [Component]
    while todo:
        cls = todo.pop()
        todo += cls.__subclasses__()
        if cls.__module__.startswith("sde_diffusion."):
            seen.add(cls)
            kinds = {p.kind for p in parameters(cls).values()}
            assert kinds <= {1, 3}, cls  # by position or keyword, by keyword alone
    assert len(seen) > 80


def test_fields_are_what_was_given_whatever_the_constructor_makes_of_it() -> None:
    solver = UniPC(order=2)
    assert solver.order == 3  # of convergence: another thing of the same name
    assert solver.fields() == {"order": 2, "lower_order_final": False}
    assert UniPC(3).fields()["order"] == 3
    low = [0.5, 0.1]
    restart = Restart(DDIM(), low, [0.9, 0.2], [2, 2], [1, 1])
    low.append(7.0)  # the list is the caller's
    assert restart.fields()["low"] == [0.5, 0.1]


def test_identity_holds_no_class_path() -> None:
    restart = Restart(Heun(s_churn=0.0))
    assert restart.identity()["inner"]["component"] == "Heun"
    assert "sde_diffusion" not in str(restart.identity())


def test_a_changed_copy_differs_in_that_alone() -> None:
    grid = Karras(rho=5.0)
    assert grid.changed(sigma_min=0.01).fields() == {**grid.fields(), "sigma_min": 0.01}
    assert grid.fields() == {"rho": 5.0, "sigma_min": 0.002, "sigma_max": 80.0}
    assert Digits().changed(split="test").fields() == {"split": "test"}


def test_a_misspelt_argument_is_no_argument() -> None:
    with pytest.raises(TypeError, match="DDIM: got an unexpected keyword argument 'order'"):
        DDIM(order=3)  # type: ignore[call-arg]


def test_every_constructor_answers_for_what_it_does_not_take() -> None:
    """In one line with what it takes, as the command line does, and still as Python's TypeError."""
    for group in groups.BASES:
        for name in groups.names(group):
            cls = located(groups.node(group, name)[TARGET], group, groups.base(group))
            with pytest.raises(InputError, match=rf"^[\w.]+={cls.__name__}: .* it takes") as caught:
                cls(no_such_argument=1)
            assert isinstance(caught.value, TypeError)
