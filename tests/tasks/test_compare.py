"""``compare``: cells, resume, floor, and the refusal of what cannot run."""

from __future__ import annotations

import csv
import json
import math
import statistics
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from sde_diffusion.config.choices import entries
from sde_diffusion.config.compose import compose_task, read
from sde_diffusion.errors import InputError
from sde_diffusion.face.load import load
from sde_diffusion.models.file import save_checkpoint
from sde_diffusion.models.spec import Spec
from sde_diffusion.solvers.heun import Heun
from sde_diffusion.tasks.compare.design import USUAL, usual
from sde_diffusion.tasks.compare.task import CompareTask, setting
from tests.conftest import Run

QUICK = ["compare", "hydra.run.dir=out", "samples=[4,8]", "nfe=[2]", "tracker=csv"]
TWO = [*QUICK, "solvers=[ddim,{uni:{solver:unipc,order:1,grid:karras}}]"]

WITHOUT_PAGE = pytest.mark.usefixtures("without_page")


def test_entries_are_names_or_labelled_choices() -> None:
    found = list(
        entries(["ddim", {"u3": {"solver": "unipc", "order": 3, "grid": "karras"}}], "solver")
    )
    assert [(entry.label, entry.words()) for entry in found] == [
        ("ddim", ["solver=ddim"]),
        ("u3", ["solver=unipc", "grid=karras", "solver.order=3"]),
    ]
    with pytest.raises(InputError, match="solvers"):
        list(entries([3], "solver"))


@WITHOUT_PAGE
def test_compare_writes_rows_of_every_cell(quick_cli: Run, tmp_path: Path) -> None:
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
    assert content["provenance"]["cells"][1]["solver"] == "uni"


@WITHOUT_PAGE
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
        ("extractor=pixel", "reference: none is shipped for extractor pixel4"),
        ("seed=-1", "seed=-1"),
        ("batch_size=0", "batch_size=0"),
        ("nfe=8", "nfe=8: give a list of whole numbers, [8] or [A,B]"),
        ("nfe=[4.5]", "nfe=[4.5]: give a list of whole numbers"),
        ("nfe=[0]", "nfe=[0]: give 1 <= nfe"),
        ("solvers=[{ddim:{eta:1}}]", "eta"),
        ("solvers=[{'../up':{solver:ddim}}]", "'../up'"),
        ("repeats=0", "repeats=0"),
        ("metric=[nosuch]", "metric=nosuch"),
        ("metric=[kid] metric.kid.blocks=1", "metric.kid.blocks=1"),
    ],
)
def test_nothing_runs_before_every_cell_is_checked(
    quick_cli: Run, tmp_path: Path, words: str, named: str
) -> None:
    done = quick_cli(*QUICK, *words.split(), ok=False)
    assert done.returncode != 0
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@WITHOUT_PAGE
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


def test_a_solver_that_diverges_is_left_out_and_named(
    quick_cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With NaN from the second block on: none of its blocks is shown, all others are."""
    step = Heun.step

    def broken(self: Heun, ask: Any, x: Tensor, *rest: Any) -> Any:
        made, state = step(self, ask, x, *rest)
        return (made * math.nan if ask.cond.parts["label"].value[0] == 8 else made), state

    monkeypatch.setattr(Heun, "step", broken)
    words = ["solvers=[ddim,heun]", "nfe=[2,4]", "repeats=2", "metric=[]"]
    done = quick_cli(*QUICK, *words)
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {(row["solver"], row["nfe"]) for row in content["rows"]} == {("ddim", 2), ("ddim", 4)}
    assert [line.split(":")[0] for line in content["provenance"]["left_out"]] == [
        "heun at NFE 2", "heun at NFE 4",
    ]  # fmt: skip
    assert "left out: heun at NFE 2: solver=Heun: 8 of 8" in done.stdout
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Left out: heun at NFE 4" in page
    assert "images of heun" not in page
    done = quick_cli(*QUICK, *words, "solvers=[heun]", "hydra.run.dir=none", ok=False)
    assert "heun at NFE 2: solver=Heun: 8 of 8" in done.stderr


@WITHOUT_PAGE
def test_a_solver_may_have_evaluations_of_its_own(quick_cli: Run, tmp_path: Path) -> None:
    quick_cli(*QUICK, "solvers=[{h:{solver:heun,nfe:4}},ddim]", "nfe=[2,3]", "samples=[2]")
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    assert [(row["solver"], row["nfe"]) for row in rows] == [("h", 4), ("ddim", 2), ("ddim", 3)]
    done = quick_cli(*QUICK, "solvers=[{h:{solver:heun,nfe:4.5}}]", ok=False)
    assert "solvers: h: nfe=4.5: give a whole number" in done.stderr


@WITHOUT_PAGE
def test_guidance_and_one_grid_for_all(quick_cli: Run, tmp_path: Path) -> None:
    quick_cli(*QUICK, "solvers=[ddim]", "nfe=[4]", "guidance=[cfg,clip]", "grid=uniform")
    row = json.loads((tmp_path / "out" / "results.json").read_text())["rows"][0]
    assert (row["nfe"], row["steps"], row["grid"]) == (4, 2, "Uniform")


@WITHOUT_PAGE
def test_blocks_of_seeds_have_a_mean_and_a_spread(quick_cli: Run, tmp_path: Path) -> None:
    quick_cli(*QUICK, "solvers=[ddim,unipc]", "repeats=3", "metric=[]", "animation=false")
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert len(content["rows"]) == 2 * 2 * 3
    assert {row["seeds"] for row in content["rows"]} == {"0-7", "8-15", "16-23"}
    for at in content["points"]:
        same = [row["fd"] for row in content["rows"]
                if (row["solver"], row["samples"]) == (at["solver"], at["samples"])]  # fmt: skip
        assert (len(same), at["blocks"], at["seeds"]) == (3, 3, "0-23")
        assert at["fd"] == pytest.approx(statistics.fmean(same))
        assert at["fd_sd"] == pytest.approx(statistics.stdev(same)) != 0


@WITHOUT_PAGE
def test_a_row_says_all_that_it_depends_on(quick_cli: Run, tmp_path: Path) -> None:
    words = [*QUICK, "solvers=[ddim]", "nfe=[4]", "guidance=[cfg,clip]", "precision=bfloat16"]
    quick_cli(*words, "samples=[12]", "metric=prdc", "metric.prdc.k=3")
    with open(tmp_path / "out" / "results.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert json.loads(row["solver_fields"])["component"] == "DDIM"
    assert json.loads(row["grid_fields"])["rho"] == 7.0
    assert "Clip" in row["guidance_fields"]
    assert "rounded" in row["quantisation"]
    assert (row["nfe"], row["seeds"], row["network_dtype"]) == ("4.0", "0-11", "bfloat16")
    assert 0 <= float(row["precision"]) <= 1
    for name in ("extractor_fingerprint", "reference_fingerprint", "reference_n", "revision",
                 "dtype", "device", "seconds", "model_fingerprint", "cell"):  # fmt: skip
        assert row[name]


@WITHOUT_PAGE
def test_a_calibrated_solver_stands_beside_the_others(quick_cli: Run, tmp_path: Path) -> None:
    """On its own grid; its cell is named after the content of its file, and it has no other NFE."""
    quick_cli("calibrate", "nfe=[2]", "noises=8", "held_out=4", "budget=2", "nodes=8",
              "hydra.run.dir=made")  # fmt: skip
    path = "made/calibration.safetensors"
    solver = f"{{few:{{solver:calibrated,path:{path}}}}}"
    words = ["compare", f"solvers=[ddim,{solver}]", "samples=[8]", "animation=false", "metric=[]",
             "hydra.run.dir=out"]  # fmt: skip
    quick_cli(*words, "nfe=[2]", "grid=karras")
    with (tmp_path / "out" / "results.csv").open() as file:
        grids = {row["solver"]: row["grid"] for row in csv.DictReader(file)}
    assert grids == {"ddim": "Karras", "few": "CalibratedGrid"}
    done = quick_cli(*words, "nfe=[2,3]", ok=False)
    assert "give one of [2]" in done.stderr


def test_the_usual_solvers_include_a_calibration_only_where_it_fits(tiny_model: str) -> None:
    def named(*words: str) -> list[str]:
        config = compose_task(["task=compare", *words])
        task: CompareTask = read(config, CompareTask)
        return usual(setting(config), task, load(task.checkpoint), task.nfe)

    assert named() == [*USUAL, "calibrated"]
    for words in (
        ["nfe=[4,16]"], ["label=null"], ["guidance=cfg"], [f"checkpoint={tiny_model}"],
    ):  # fmt: skip
        assert named(*words) == list(USUAL)


def test_a_model_of_vectors_is_refused_in_one_line(quick_cli: Run, tmp_path: Path) -> None:
    spec = Spec("mlp", {"channels": 2, "width": 8, "blocks": 1}, "v", {}, (2,))
    weights = {f"model.{k}": v for k, v in spec.build().network.state_dict().items()}
    save_checkpoint(tmp_path / "points.safetensors", spec, weights)
    done = quick_cli(*QUICK, "checkpoint=points.safetensors", ok=False)
    assert "checkpoint=points.safetensors: draws vectors" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@WITHOUT_PAGE
def test_a_model_is_judged_by_the_features_of_its_data_where_none_are_chosen(
    quick_cli: Run, tmp_path: Path
) -> None:
    words = ["compare", "checkpoint=shapes", "samples=[4]", "nfe=[2]", "solvers=[ddim]",
             "metric=[]", "animation=false"]  # fmt: skip
    done = quick_cli(*words, "hydra.run.dir=out")
    assert "extractor=shapes-cnn" in done.stderr
    facts = json.loads((tmp_path / "out" / "results.json").read_text())["provenance"]
    assert facts["metric"] == "FD[shapes-cnn]"
    refused = quick_cli(*words, "extractor=cifar-cnn", "hydra.run.dir=other", ok=True)
    assert "extractor=" not in refused.stderr
    facts = json.loads((tmp_path / "other" / "results.json").read_text())["provenance"]
    assert facts["metric"] == "FD[cifar-cnn]"


@WITHOUT_PAGE
def test_prompts_are_a_file_and_a_part_of_what_a_cell_depends_on(
    quick_cli: Run, tmp_path: Path
) -> None:
    words = ["compare", "checkpoint=shapes", "samples=[4]", "nfe=[2]", "solvers=[ddim]",
             "metric=[]", "animation=false", "hydra.run.dir=out", "prompts=lines.txt"]  # fmt: skip
    (tmp_path / "lines.txt").write_text("a red circle\na large blue square\n")
    quick_cli(*words)
    (tmp_path / "lines.txt").write_text("a green circle\n")
    quick_cli(*words)
    assert len(list((tmp_path / "out" / "cells").glob("*.safetensors"))) == 2
    (tmp_path / "lines.txt").write_text("a red circle\n\na large blue square\n")
    assert "line 2 is empty" in quick_cli(*words, ok=False).stderr
    (tmp_path / "lines.txt").write_text("a green elephant\n")
    assert "does not know elephant" in quick_cli(*words, ok=False).stderr
    assert "prompts=gone" in quick_cli(*words[:-1], "prompts=gone", ok=False).stderr
    plain = [*words, "checkpoint=mnist"]
    assert "takes no prompt" in quick_cli(*plain, ok=False).stderr
