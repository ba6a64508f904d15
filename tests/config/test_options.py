"""The library's keywords: names with fields, or objects; a keyword that does nothing is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sde_diffusion import exact_error, wrap
from sde_diffusion.config.choices import entries
from sde_diffusion.errors import InputError
from sde_diffusion.guidance import ClassifierFree, Clip
from sde_diffusion.process.grids import Karras, LogSNR
from sde_diffusion.process.noise import Brownian
from sde_diffusion.process.sde import VP
from sde_diffusion.solvers.heun import Heun
from sde_diffusion.solvers.unipc import UniPC
from tests.refusals import refused

MODEL = wrap(lambda x, sigma: x / (1 + sigma**2), shape=(2,))


def test_objects_and_names_make_the_same_sampler() -> None:
    one = MODEL.sampler(
        "unipc", "vp", "karras", ["cfg", "clip"], "brownian", solver__order=3, sde__beta_max=18,
        grid__rho=5, guidance__cfg__scale=2,
    )  # fmt: skip
    two = MODEL.sampler(
        UniPC(order=3), VP(beta_max=18.0), Karras(5.0), [ClassifierFree(2.0), Clip()],
        Brownian(),
    )  # fmt: skip
    for name in ("solver", "sde", "grid", "noise"):
        assert getattr(one, name).identity() == getattr(two, name).identity()
    outer = [getattr(s.denoiser, "guidance") for s in (one, two)]  # noqa: B009
    inner = [getattr(s.denoiser, "inner").guidance for s in (one, two)]  # noqa: B009
    for guidance in (outer, inner):
        assert guidance[0].identity() == guidance[1].identity()


@pytest.mark.parametrize("solver", ["unipc", {"unipc": {"order": 3}}, UniPC()])
def test_a_solver_brings_its_grid(solver: Any) -> None:
    assert isinstance(MODEL.sampler(solver).grid, LogSNR)
    assert MODEL.sampler(solver, grid=Karras(3.0)).grid.fields()["rho"] == 3


def test_an_old_keyword_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    sampler = MODEL.sampler(guidance="cfg", guidance__scale=3)
    assert getattr(sampler.denoiser, "guidance").scale == 3  # noqa: B009
    assert "guidance__cfg__scale" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"checkpoint": "x"}, "checkpoint: unknown keyword"),
        ({"precision": "bfloat16"}, "precision: of a model; give load(CHECKPOINT, precision="),
        ({"solvr__order": 3}, "solvr__order: unknown keyword; did you mean solver?"),
        ({"solver__ordr": 3}, "solver__ordr: unknown key; did you mean order?"),
        ({"guidance__cfg__scale": 2}, "guidance__cfg__scale: cfg is not among"),
        ({"guidance": "cfg", "guidance__clip__low": 0}, "guidance__clip__low: clip is not among"),
        ({"solver": UniPC(), "solver__order": 3}, "solver__order: solver is an object already"),
        ({"solver": UniPC}, "solver=UniPC: a class; give an object"),
        ({"guidance": ["c", "f", "g"]}, 'guidance="c": no such choice'),
        ({"grid": 3}, "grid=3: give one of"),
        ({"sde": "vpp"}, 'sde="vpp": no such choice; did you mean vp?'),
        ({"solver__order": "x"}, "solver__order=x: give a whole number"),
    ],
)
def test_a_keyword_that_is_wrong_or_unused_is_refused(options: Any, says: str) -> None:
    with pytest.raises(InputError) as caught:
        MODEL.sampler(**options)
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)


def test_exact_errors_take_objects_too() -> None:
    covariance = torch.tensor([1.0, 0.25], dtype=torch.float64)
    by_name = exact_error("heun", 8, covariance, sde="vp", grid="karras", grid__rho=5)
    assert by_name == exact_error(Heun(), 8, covariance, sde=VP(), grid=Karras(5.0))
    assert exact_error("heun", 8, covariance) == exact_error(Heun(), 8, covariance)
    with refused("covarience"):
        exact_error("heun", 8, covariance, covarience=covariance)


# --- Lists with labels ------------------------------------------------------------------------


def test_entries_are_names_or_labels_or_objects() -> None:
    given = [
        "ddim",
        {"u3": {"solver": "unipc", "grid": "karras", "order": 3}},
        {"unipc": {"lower_order_final": True}},
        Heun(),
        {"churned": Heun(s_churn=10.0)},
    ]
    found = list(entries(given, "solver"))
    assert [entry.label for entry in found] == ["ddim", "u3", "unipc", "heun", "churned"]
    assert found[1].words() == ["solver=unipc", "grid=karras", "solver.order=3"]
    assert found[2].words() == ["solver=unipc", "solver.lower_order_final=true"]
    assert found[1].component().identity() == UniPC(order=3).identity()
    assert found[4].component().fields()["s_churn"] == 10
    assert [entry.default_grid() for entry in found[:4]] == ["karras", "karras", "logsnr", "karras"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["ddim", "ddim"], "solvers: ddim twice"),
        ([{"a/b": {"solver": "ddim"}}], "solvers: label 'a/b'"),
        ([3], "solvers: 3: give a name"),
        ([{"a": 3}], "solvers: a: 3: give"),
    ],
)
def test_entries_that_are_none_are_one_line(given: list[Any], says: str) -> None:
    with pytest.raises(InputError) as caught:
        list(entries(given, "solver"))
    assert str(caught.value).startswith(says)


UNIPC3 = {"component": "UniPC", "order": 3, "lower_order_final": False}


@pytest.mark.parametrize(
    "given",
    [
        {"solver__inner": "unipc", "solver__inner__order": 3},
        {"solver__inner__order": 3, "solver__inner": "unipc"},
        {"solver__inner": {"unipc": {"order": 3}}},
        {"solver__inner": UniPC(order=3)},
    ],
)
def test_fields_of_a_part_are_given_as_on_the_command_line(given: dict[str, Any]) -> None:
    assert MODEL.sampler("restart", **given).solver.identity()["inner"] == UNIPC3


def test_fields_of_the_part_that_stands_there_and_those_that_it_has_not() -> None:
    inner = MODEL.sampler("restart", solver__inner__s_noise=1.25).solver.fields()["inner"]
    assert inner.fields()["s_noise"] == 1.25
    for options, says in (
        ({"solver__inner__ordr": 3}, r"solver__inner__ordr: .*s_churn"),
        ({"solver__inner": "unipc", "solver__inner__ordr": 3}, r"solver__inner__ordr: .*order"),
        ({"solver__low__order": 3}, r"solver__low__order: "),
        ({"solver__inner": UniPC(), "solver__inner__order": 3}, "solver__inner__order: .*already"),
    ):
        with pytest.raises(InputError, match=says):
            MODEL.sampler("restart", **options)
