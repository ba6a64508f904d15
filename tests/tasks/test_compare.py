"""``compare``: cells, resume, floor, and the refusal of what cannot run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sde_diffusion.errors import InputError
from sde_diffusion.tasks.compare import entries
from tests.conftest import Run

QUICK = ["compare", "hydra.run.dir=out", "samples=[4,8]", "nfe=[2]", "tracker=csv"]
TWO = [*QUICK, "solvers=[ddim,{uni:{solver:unipc,order:1,grid:karras}}]"]


def test_entries_are_names_or_labelled_choices() -> None:
    found = list(entries(["ddim", {"u3": {"solver": "unipc", "order": 3, "grid": "karras"}}]))
    assert found == [
        ("ddim", ["solver=ddim"]),
        ("u3", ["solver=unipc", "grid=karras", "solver.order=3"]),
    ]
    with pytest.raises(InputError, match="solvers"):
        list(entries([3]))


def test_compare_writes_rows_of_every_cell_and_resumes(quick_cli: Run, tmp_path: Path) -> None:
    quick_cli(*TWO)
    out = tmp_path / "out"
    content = json.loads((out / "results.json").read_text())
    rows = content["rows"]
    assert [(r["solver"], r["nfe"], r["samples"]) for r in rows] == [
        ("ddim", 2, 4), ("ddim", 2, 8), ("uni", 2, 4), ("uni", 2, 8),
    ]  # fmt: skip
    # UniPC of order 1 corrects the first step and so differs; the floor is the same for all.
    assert rows[0]["floor"] == rows[2]["floor"] > 0
    assert rows[1]["fd"] > 0
    assert rows[1]["note"].startswith("interval withheld")
    assert content["provenance"]["extractor_fingerprint"]
    assert content["provenance"]["cells"][1]["label"] == "uni"

    cells = {path: path.stat().st_mtime_ns for path in (out / "cells").iterdir()}
    assert len(cells) == 2
    victim = min(cells)  # as if the run had been killed before its first cell was written
    victim.unlink()
    (out / "results.json").unlink()
    quick_cli(*TWO)
    again = json.loads((out / "results.json").read_text())["rows"]
    assert {path for path, t in cells.items() if path.stat().st_mtime_ns == t} == set(cells) - {
        victim
    }
    for old, new in zip(rows, again, strict=True):
        assert new["fd"] == pytest.approx(old["fd"], rel=1e-9)


def test_another_seed_does_not_reuse_cells(quick_cli: Run, tmp_path: Path) -> None:
    for seed in (0, 100):
        quick_cli(*QUICK, "solvers=[ddim]", f"seed={seed}")
    assert len(list((tmp_path / "out" / "cells").iterdir())) == 2


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("solvers=[heun] nfe=[3]", "nfe=3"),
        ("solvers=[nosuch]", "solver=nosuch"),
        ("solvers=[ddim,ddim]", "ddim twice"),
        ("solvers=[]", "solvers=[]"),
        ("samples=[1]", "samples=[1]"),
        ("nfe=[abc]", "abc"),
        ("reference=nosuch", "reference=nosuch"),
        ("extractor=pixel", "reference=pixel4-reference"),
        ("solvers=[{ddim:{eta:1}}]", "eta"),
    ],
)
def test_nothing_runs_before_every_cell_is_checked(
    quick_cli: Run, tmp_path: Path, words: str, named: str
) -> None:
    done = quick_cli(*QUICK, *words.split(), ok=False)
    assert done.returncode != 0
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out" / "cells").exists()


def test_solvers_without_an_order_take_a_budget_and_adaptive_ones_their_own(
    quick_cli: Run, tmp_path: Path
) -> None:
    quick_cli(
        *QUICK,
        "samples=[2]",
        "solvers=[predictor_corrector,langevin,{dp:{solver:dopri,rtol:0.1,atol:0.1}}]",
    )
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    assert [row["nfe_asked"] for row in rows] == [2, 2, None]
    assert rows[0]["nfe"] == 2
    assert rows[2]["nfe"] > 6


def test_guidance_and_one_grid_for_all(quick_cli: Run, tmp_path: Path) -> None:
    quick_cli(*QUICK, "solvers=[ddim]", "nfe=[4]", "guidance=[cfg,clip]", "grid=uniform")
    row = json.loads((tmp_path / "out" / "results.json").read_text())["rows"][0]
    assert (row["nfe"], row["steps"], row["grid"]) == (4, 2, "Uniform")
