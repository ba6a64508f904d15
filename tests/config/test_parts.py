"""A component within another by its name, with its fields, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sde_diffusion.cli import with_task
from sde_diffusion.config import groups
from sde_diffusion.config.choices import entries
from sde_diffusion.config.compose import build, compose_task
from sde_diffusion.config.groups import part_group
from sde_diffusion.config.parts import whole
from sde_diffusion.errors import InputError
from sde_diffusion.solvers.base import Solver
from tests.conftest import Run

UNIPC3 = {"component": "UniPC", "order": 3, "lower_order_final": False}


def inner(*words: str) -> Any:
    config = compose_task(with_task(["sample", "solver=restart", *words]))
    return build(config.solver, "solver", Solver).identity()["inner"]


@pytest.mark.parametrize(
    ("words", "is_"),
    [
        (["solver.inner=dpm2"], {"component": "DPM2"}),
        (["solver.inner=unipc", "solver.inner.order=3"], UNIPC3),
        (["solver.inner.order=3", "solver.inner=unipc"], UNIPC3),  # in whatever order
        (["solver.inner={unipc:{order:3}}"], UNIPC3),
        (["solver.inner={unipc:{order:2}}", "solver.inner.order=3"], UNIPC3),
        (["solver.inner.s_noise=1.0"], groups.make("solver", "heun").identity()),
    ],
)
def test_an_inner_solver_by_its_name_with_its_fields(words: list[str], is_: Any) -> None:
    assert inner(*words) == is_


@pytest.mark.parametrize(
    "given",
    [
        {"r": {"solver": "restart", "inner": {"unipc": {"order": 3}}}},
        {"restart": {"inner": {"unipc": {"order": 3}}}},
    ],
)
def test_the_same_inside_a_list_of_solvers(given: Any) -> None:
    (one,) = entries([given], "solver")
    assert one.component().identity()["inner"] == UNIPC3


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("solver.inner=unipcc", "solver.inner=unipcc: no such choice; did you mean unipc?"),
        ("solver.inner=ddmi", "solver.inner=ddmi: no such choice; did you mean ddim?"),  # not ddrm
        ("solver.inner={unipc:{ordr:3}}", "solver.inner.ordr: unknown key; did you mean order?"),
        ("solver.inner={unipc:3}", "solver.inner.unipc=3: give {FIELD: VALUE}"),
        ("+solver@solver.inner=unipc", "type solver.inner=unipc"),
        ("solver.inner._target_=sde_diffusion.solvers.dpm2.DPM2", "type solver.inner=dpm2"),
        ("solver.inner._target_=elsewhere.Own", "type solver.inner=NAME"),
    ],
)
def test_what_is_no_choice_and_no_field_is_refused(word: str, says: str) -> None:
    with pytest.raises(InputError) as refused:
        whole([word])
    assert says in str(refused.value)


def test_a_field_of_what_stood_there_before_is_told(quick_cli: Run) -> None:
    words = ["solver=restart", "solver.inner=unipc", "solver.inner.s_churn=1"]
    done = quick_cli("sample", *words, ok=False)
    said = "solver.inner.s_churn: unknown key here; solver.inner takes lower_order_final, order"
    more = "; s_churn is of solver.inner=heun"
    assert done.stderr == f"sde-diffusion: {said}{more}\n"


def test_a_sweep_of_its_fields(quick_cli: Run, tmp_path: Path, tiny_model: str) -> None:
    words = ["solver=restart", "solver.inner=unipc", "solver.inner.order=1,2"]
    words += [f"checkpoint={tiny_model}", "n=1", "nfe=14", "hydra.sweep.dir=many"]
    quick_cli("sample", "-m", *words)
    kept = [tmp_path / "many" / job / "result.json" for job in "01"]
    solvers = [json.loads(path.read_text())["config"]["solver"] for path in kept]
    assert [solver["inner"]["order"] for solver in solvers] == [1, 2]


def test_only_parts_are_written_out() -> None:
    words = ["solver=heun", "solver.order=3", "n=4", "data.path=mnist", "solver.inner=null"]
    words += ["solver.inner={_target_:x.y}", "guidance.cfg.scale=2", "solver.inner=heun,dpm2"]
    words += ["solver.inner={s_noise:1.0}"]
    assert whole(words) == words
    assert part_group("solver", "inner") == "solver"
    assert part_group("solver", "order") is None
    assert part_group("solvers", "inner") is None
