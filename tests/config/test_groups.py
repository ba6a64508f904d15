"""Names, fields and objects become components; nothing else does, at any depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sde_diffusion.config import groups
from sde_diffusion.config.schema import MISSING
from sde_diffusion.errors import InputError
from sde_diffusion.process.grids import Explicit, Karras
from sde_diffusion.process.sde import EDM, VP
from sde_diffusion.solvers.ddim import DDIM
from sde_diffusion.solvers.unipc import UniPC
from sde_diffusion.solvers.wrappers.restart import Restart
from sde_diffusion.training.levels import FromSDE
from sde_diffusion.training.weighting import LikelihoodWeighting
from tests.refusals import refused


@pytest.mark.parametrize(
    "choice",
    [
        "unipc",
        {"unipc": None},
        {"unipc": {"order": 2}},
        {"_target_": "sde_diffusion.solvers.unipc.UniPC"},
        UniPC(),
    ],
)
def test_a_component_by_any_of_its_names(choice: Any) -> None:
    assert groups.resolve("solver", choice).identity() == UniPC().identity()


def test_components_within_components_by_name_and_as_objects() -> None:
    wanted = Restart(DDIM()).identity()
    node = {"_target_": "sde_diffusion.solvers.ddim.DDIM"}
    for inner in ("ddim", node, {"ddim": {}}, DDIM()):
        assert groups.make("solver", "restart", inner=inner).identity() == wanted


def test_a_field_may_ask_for_a_component_beside_it() -> None:
    levels = groups.make("levels", "sde", {"sde": VP(0.2, 18.0)})
    assert isinstance(levels, FromSDE)
    assert levels.sde.fields() == {"beta_min": 0.2, "beta_max": 18.0}
    weighting = groups.make("weighting", "likelihood", {"levels": levels})
    assert isinstance(weighting, LikelihoodWeighting)
    with refused("levels.sde", "give sde="):
        groups.make("levels", "sde")
    with refused("levels.sde=Karras", "an object of SDE"):
        groups.make("levels", "sde", {"sde": Karras()})


def test_what_goes_with_a_choice() -> None:
    assert groups.brings("solver", "unipc") == {"grid": "logsnr"}
    assert groups.brings("solver", "calibrated") == {}
    assert groups.choice_of("solver", UniPC(order=3)) == "unipc"
    assert groups.choice_of("sde", EDM) == "edm"


@pytest.mark.parametrize(
    ("given", "kept"), [(np.int64(3), 3), (np.array(3), 3), (torch.tensor(3), 3), ("3", 3)]
)
def test_whole_numbers_of_libraries_are_taken(given: Any, kept: int) -> None:
    order = groups.make("solver", "unipc", order=given).fields()["order"]
    assert (order, type(order)) == (kept, int)


@pytest.mark.parametrize(
    "levels", [[80, 1, 0.1], (80, 1, 0.1), np.array([80, 1, 0.1]), torch.tensor([80.0, 1.0, 0.1])]
)
def test_lists_of_numbers_are_taken(levels: Any) -> None:
    grid = groups.make("grid", "explicit", levels=levels)
    assert isinstance(grid, Explicit)
    assert grid.levels == pytest.approx([80, 1, 0.1])


@pytest.mark.parametrize(
    ("group", "name", "fields", "says"),
    [
        ("solver", "unipcc", {}, "solver=unipcc: no such choice; did you mean unipc? choose one"),
        ("solver", "unipc", {"ordr": 3}, "solver.ordr: unknown key; did you mean order? solver"),
        ("sde", "edm", {"beta": 3}, "sde.beta: unknown key; sde takes no fields"),
        ("solver", "unipc", {"order": 2.5}, "solver.order=2.5: give a whole number"),
        ("solver", "unipc", {"order": True}, "solver.order=True: give a whole number"),
        ("solver", "unipc", {"order": None}, "solver.order=None: give a whole number"),
        ("solver", "unipc", {"lower_order_final": 1}, "solver.lower_order_final=1: give true or"),
        ("grid", "karras", {"rho": "x"}, "grid.rho=x: give a number"),
        ("grid", "karras", {"rho": [7]}, "grid.rho=[7]: give a number"),
        ("grid", "explicit", {}, "grid.levels: required"),
        (
            "grid",
            "explicit",
            {"levels": "80"},
            "grid.levels=80: give a list of numbers, [80] or [A,B]",
        ),
        ("grid", "explicit", {"levels": [80, "x"]}, "grid.levels=[80, 'x']: give a list of"),
        ("solver", "dopri", {"rtol": "x"}, "solver.rtol=x: give a number, or null"),
        ("data", "mnist", {"root": 3.5, "download": "maybe"}, "data.download=maybe: give true or"),
        ("solver", "restart", {"inner": "karras"}, "solver.inner=karras: no such choice"),
        ("solver", "restart", {"inner": Karras()}, "solver.inner=Karras"),
        ("solver", "restart", {"inner": DDIM}, "solver.inner=DDIM: a class; give an object, DDIM"),
        ("solver", "restart", {"inner": None}, "solver.inner=None"),
        ("solver", "predictor_corrector", {"corrector": "ddim"}, "solver.corrector=DDIM: not a"),
    ],
)
def test_what_is_wrong_is_one_line(group: str, name: str, fields: Any, says: str) -> None:
    with pytest.raises(InputError) as caught:
        groups.make(group, name, **fields)
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("choice", [3, None, ["unipc"], {"unipc": 3}, {"a": 1, "b": 2}, Karras()])
def test_what_is_no_choice_is_one_line(choice: Any) -> None:
    with refused("solver=", "an object of Solver"):
        groups.resolve("solver", choice)


# --- What is let in ---------------------------------------------------------------------------

WRITES = {
    "_target_": "sde_diffusion.system.storage.write_atomically",
    "path": {"_target_": "sde_diffusion.system.storage.asset", "name": "victim"},
    "content": {"_target_": "sde_diffusion.report.exact.csv_bytes", "rows": [{"a": 1}]},
}
HEUN = "sde_diffusion.solvers.heun.Heun"
DOORS: dict[str, tuple[str, dict[str, Any]]] = {
    "as a data set": ("data", WRITES),
    "as a solver": ("solver", WRITES),
    "in the place of a component": (
        "solver",
        {"_target_": "sde_diffusion.solvers.wrappers.restart.Restart", "inner": WRITES},
    ),
    "in the place of a number": ("solver", {"_target_": HEUN, "s_churn": WRITES}),
    "in a list": (
        "grid",
        {"_target_": "sde_diffusion.process.grids.Explicit", "levels": [80, WRITES]},
    ),
    "within a component that may stand there": (
        "solver",
        {
            "_target_": "sde_diffusion.solvers.wrappers.restart.Restart",
            "inner": {"_target_": HEUN, "s_noise": WRITES},
        },
    ),
    "by a name": ("solver", {"_target_": HEUN, "inner": WRITES}),
    "as a part": ("solver", {"_target_": HEUN, "_partial_": True, "_args_": [WRITES]}),
}


@pytest.mark.parametrize("door", DOORS)
def test_a_function_of_ours_is_no_component(
    door: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of our own functions, one within the other, once wrote a file of a stranger's choice."""
    monkeypatch.chdir(tmp_path)
    group, node = DOORS[door]
    with pytest.raises(InputError) as caught:
        groups.build(node, group, groups.base(group))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("os.system", "not a class of sde_diffusion"),
        ("builtins.eval", "not a class of sde_diffusion"),
        ("sde_diffusion.system.storage.os.system", "not found"),
        ("sde_diffusion.process.grids.torch.Tensor", "not found"),
        ("sde_diffusion.process.grids.VP", "not a TimeGrid"),
        ("sde_diffusion.nosuch.Thing", "not found"),
        ("sde_diffusion.process.grids.TimeGrid", "what others derive from"),
        ("sde_diffusion.process.grids.power_spaced", "not a TimeGrid"),
        ("sde_diffusion.solvers.unipc.UniPC", "not a TimeGrid"),
        ("sde_diffusion", "not"),
        ("", "not a class"),
        (3, "not a class"),
        (["sde_diffusion.process.grids.Karras"], "not a class"),
    ],
)
def test_a_yaml_names_components_of_its_group(target: Any, says: str) -> None:
    with pytest.raises(InputError) as caught:
        groups.build({"_target_": target}, "grid", groups.base("grid"))
    assert str(caught.value).startswith(f"grid._target_={target}: {says}")


def test_what_a_yaml_leaves_open_is_asked_for() -> None:
    node = {"_target_": "sde_diffusion.process.grids.Explicit", "levels": MISSING}
    with refused("grid.levels", "give grid.levels="):
        groups.build(node, "grid")
    with refused("grid=", "not a component"):
        groups.build({"rho": 3}, "grid")


# --- Yaml files of one's own ------------------------------------------------------------------


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    (tmp_path / "solver").mkdir()
    return tmp_path


def test_a_folder_of_ones_own_adds_choices_and_builds_on_ours(conf: Path) -> None:
    (conf / "solver" / "mine.yaml").write_text("defaults:\n  - unipc\n  - _self_\norder: 3\n")
    (conf / "solver" / "over.yaml").write_text(
        "defaults:\n  - /solver@inner: mine\n  - /grid@_global_.grid: karras\n"
        "_target_: sde_diffusion.solvers.wrappers.restart.Restart\n"
        "low: [0.06]\nhigh: [0.3]\nsteps: [2]\nrepeats: [2]\ns_noise: 1e+0\nrho: 7.0\n"
    )
    assert "mine" not in groups.names("solver")
    with groups.searching([conf]):
        assert groups.make("solver", "mine").identity() == UniPC(order=3).identity()
        assert groups.brings("solver", "mine") == {"grid": "logsnr"}
        over = groups.make("solver", "over")
        assert over.identity() == Restart(UniPC(order=3)).identity()
        assert groups.brings("solver", "over") == {"grid": "karras"}
    assert "mine" not in groups.names("solver")


def test_ours_come_first(conf: Path) -> None:
    (conf / "solver" / "ddim.yaml").write_text("_target_: os.system\n")
    with groups.searching([conf]):
        assert isinstance(groups.make("solver", "ddim"), DDIM)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: &x [1, 2]\nb: *x\n", "references"),
        ("- a\n- b\n", "not a mapping"),
        ("a: [1\n", "no yaml"),
        ("a: !!python/object/apply:os.system [true]\n", "no yaml"),
        ("defaults:\n  - /hydra/launcher: basic\n_target_: x\n", "only the command line"),
        ("\x00", "no yaml"),
        ("", "not a mapping"),
        (f"a: {'[' * 60}{']' * 60}\n", "nested more than 50 deep"),
        (f"a: {'[' * 100_000}", "no yaml"),
        ("".join(f"{'  ' * k}a:\n" for k in range(60)), "nested more than 50 deep"),
        (f"a: [{'1,' * 200_001}]\n", "more than 200000 values"),
        (f"a: {'1' * 2**20}\n", "bytes, more than"),
    ],
)
def test_a_yaml_that_is_none_is_one_line(conf: Path, text: str, says: str) -> None:
    (conf / "solver" / "bad.yaml").write_text(text)
    with groups.searching([conf]), pytest.raises(InputError) as caught:
        groups.make("solver", "bad")
    assert says in str(caught.value)
    assert "bad.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)
