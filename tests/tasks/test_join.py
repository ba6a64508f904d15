"""``join`` and the end of a multirun: several finished jobs say what one job of all would say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sde_diffusion.report import write
from sde_diffusion.report.jobs import jobs_page
from sde_diffusion.report.ranking import rank_unpaired
from sde_diffusion.tasks.join.finished import Finished, differences
from sde_diffusion.tasks.join.table import rows, text
from sde_diffusion.tasks.run import described
from tests.conftest import Run

SMALL = ["nfe=[2]", "animation=false", "metric=[]"]


def results(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return content


def job(cli: Run, folder: str, *words: str) -> None:
    """A comparison without its page, whose plots take longer than all else here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "_draw", lambda output, comparison: None)
        cli("compare", f"hydra.run.dir={folder}", *SMALL, *words)


def values(content: dict[str, Any]) -> dict[tuple[str, float, int], tuple[float, float | None]]:
    return {
        (row["solver"], row["nfe"], row["samples"]): (row["fd"], row["fd_debiased"])
        for row in content["points"]
    }


def test_jobs_of_two_solvers_and_two_blocks_are_one_comparison(
    quick_cli: Run, tmp_path: Path
) -> None:
    for number, (solver, seed) in enumerate([("ddim", 0), ("unipc", 0), ("ddim", 4), ("unipc", 4)]):
        job(quick_cli, f"jobs/{number}", f"solvers=[{solver}]", f"seed={seed}", "samples=[4]")
    job(quick_cli, "one", "solvers=[ddim,unipc]", "samples=[4,8]")
    done = quick_cli("join", "jobs/0", "jobs/1", "jobs/2", "jobs/3", "hydra.run.dir=joined")
    joined, whole = results(tmp_path / "joined"), results(tmp_path / "one")
    assert values(joined) == {key: pytest.approx(v) for key, v in values(whole).items()}
    places = [[s["solver"] for s in r["standings"]] for r in joined["rankings"]]
    assert places == [[s["solver"] for s in r["standings"]] for r in whole["rankings"]]
    assert joined["floors"][-1]["fd"] == pytest.approx(whole["floors"][-1]["fd"])
    assert joined["provenance"]["paired"]
    assert joined["provenance"]["jobs"][1] == {
        "job": "1", "solvers": ["unipc"], "seed": 0,
    }  # fmt: skip
    page = (tmp_path / "joined" / "report.html").read_text()
    assert "The jobs, and in what they differ" in page
    assert "at N = 8" in done.stdout


@pytest.mark.slow
def test_a_seed_that_two_jobs_drew_counts_once(quick_cli: Run, tmp_path: Path) -> None:
    for seed in (0, 2):
        job(quick_cli, f"jobs/{seed}", "solvers=[ddim]", f"seed={seed}", "samples=[4]")
    quick_cli("join", "jobs", "hydra.run.dir=joined")
    assert max(row["samples"] for row in results(tmp_path / "joined")["points"]) == 6


def test_seeds_that_no_job_drew_are_not_said_to_be_there(quick_cli: Run, tmp_path: Path) -> None:
    for seed in (0, 50):
        job(quick_cli, f"jobs/{seed}", "solvers=[ddim]", f"seed={seed}", "samples=[4]")
    quick_cli("join", "jobs", "hydra.run.dir=joined")
    content = results(tmp_path / "joined")
    assert {row["seeds"] for row in content["points"]} == {"0-3,50-53"}
    assert content["provenance"]["seeds"] == "0-3,50-53"


@pytest.mark.slow
def test_samplers_of_one_name_are_told_apart(quick_cli: Run, tmp_path: Path) -> None:
    for label in (3, 5):
        words = ["solvers=[ddim]", f"label={label}", "samples=[4]"]
        job(quick_cli, f"jobs/{label}", *words)
    quick_cli("join", "jobs", "hydra.run.dir=joined")
    names = [row["solver"] for row in results(tmp_path / "joined")["points"]]
    assert names == ["ddim, label=3", "ddim, label=5"]


def test_jobs_without_a_seed_in_common_are_not_paired(quick_cli: Run, tmp_path: Path) -> None:
    job(quick_cli, "jobs/0", "solvers=[ddim]", "samples=[4]")
    job(quick_cli, "jobs/1", "solvers=[unipc]", "seed=9", "samples=[4]")
    quick_cli("join", "jobs", "hydra.run.dir=joined")
    (ranking,) = results(tmp_path / "joined")["rankings"]
    assert [standing["place"] for standing in ranking["standings"]] == [None, None]
    assert "no seeds are in all jobs" in ranking["note"]
    assert "no two samplers on the same initial noise" in (
        (tmp_path / "joined" / "report.html").read_text()
    )


def test_unpaired_differences_have_the_variance_of_both() -> None:
    def row(solver: str, value: float, half: float) -> dict[str, Any]:
        return {
            "solver": solver, "nfe": 4, "samples": 100, "fd": value, "fd_debiased": value,
            "fd_low": value - half, "fd_high": value + half,
        }  # fmt: skip

    ranking = rank_unpaired([row("b", 1.6, 0.4), row("a", 1.0, 0.3)])
    best, other = ranking.standings
    assert (best.solver, best.place) == ("a", 1)
    assert (other.low, other.high) == (pytest.approx(0.1), pytest.approx(1.1))  # 0.6 ± 0.5
    assert not other.alike
    close = rank_unpaired([row("b", 1.25, 0.4), row("a", 1.0, 0.3)]).standings[1]
    assert close.alike
    assert close.settle == 400  # half of 0.5 at a quarter: four times the samples


def test_the_end_of_a_multirun_joins_it(
    quick_cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "_draw", lambda output, comparison: None)
    words = ["solvers=[ddim],[unipc]", "samples=[4]", "hydra.sweep.dir=many", *SMALL]
    done = quick_cli("compare", "-m", *words)
    assert "many/joined/report.html" in done.stdout
    names = {row["solver"] for row in results(tmp_path / "many" / "joined")["points"]}
    assert names == {"ddim", "unipc"}


def test_a_job_that_fails_does_not_cost_the_others_their_table(
    quick_cli: Run, tmp_path: Path, tiny_model: str
) -> None:
    words = [f"checkpoint={tiny_model}", "n=2", "nfe=3,4,5", "hydra.sweep.dir=many"]
    quick_cli("sample", "-m", "solver=heun,ddim", *words, ok=False)  # Heun takes even numbers
    rows = results(tmp_path / "many" / "joined")["rows"]
    assert [(row["job"], row["nfe"]) for row in rows] == [
        ("1", 4.0), ("3", 3.0), ("4", 4.0), ("5", 5.0),
    ]  # fmt: skip
    assert "4 jobs of sample" in (tmp_path / "many" / "joined" / "report.html").read_text()


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        ("nosuch", "folders=nosuch: no finished job"),
        ("jobs other", "jobs of compare, sample"),
        ("", "sde-diffusion join FOLDER FOLDER"),
    ],
)
def test_what_cannot_be_joined_is_one_line(
    quick_cli: Run, tmp_path: Path, folders: str, said: str
) -> None:
    for folder, name, config in (
        ("jobs", "results.json", {"provenance": {"config": {"task": "compare"}}}),
        ("other", "result.json", {"config": {"task": "sample"}}),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(json.dumps(config))
    done = quick_cli("join", *folders.split(), ok=False)
    assert done.returncode == 2
    assert said in done.stderr


def test_components_are_named_as_they_are_typed(tmp_path: Path) -> None:
    solvers = [
        {"_target_": "sde_diffusion.solvers.unipc.UniPC", "order": 2},
        {
            "_target_": "sde_diffusion.solvers.wrappers.restart.Restart",
            "inner": {"_target_": "sde_diffusion.solvers.dpm2.DPM2"},
        },
    ]
    jobs = [
        Finished(str(k), tmp_path, {}, {"config": {"solver": solver}}, False)
        for k, solver in enumerate(solvers)
    ]
    apart = differences(jobs)
    assert apart["solver"] == ["unipc", "restart"]
    assert apart["solver.inner"] == [None, "dpm2"]


def test_a_key_that_a_job_has_not_is_not_null(tmp_path: Path) -> None:
    """Fields of one solver stood in the row of another as null, which that had never been told."""
    configs: list[dict[str, Any]] = [
        {"label": None, "solver": {"_target_": "sde_diffusion.solvers.ddim.DDIM"}},
        {"label": 3, "solver": {"_target_": "sde_diffusion.solvers.unipc.UniPC", "order": 2}},
    ]
    jobs = [
        Finished(str(k), tmp_path, {"fd": 2.0 + k}, {"config": config}, False)
        for k, config in enumerate(configs)
    ]
    lines = rows(jobs)
    assert [line["label"] for line in lines] == ["null", "3"]
    assert [line["solver.order"] for line in lines] == [None, "2"]
    assert "   null    ddim     –              2" in text(lines)
    assert '<td class="word">–</td>' in jobs_page("sample", lines, "fd", {})


def test_the_rank_of_a_matrix_is_no_column_of_a_ranking(tmp_path: Path) -> None:
    jobs = [
        Finished(
            str(k), tmp_path, {"fd": 2.0 - k, "rank": 64, "clipped": 0.0}, {"config": {}}, False
        )
        for k in range(2)
    ]
    assert rows(jobs) == [{"job": "1", "fd": 1.0}, {"job": "0", "fd": 2.0}]


def test_a_run_is_named_by_what_was_typed_with_every_number_of_evaluations() -> None:
    target = {"_target_": "sde_diffusion.solvers.unipc.UniPC"}
    assert described({"checkpoint": "mnist", "solver": target, "nfe": 8}) == {
        "model": "mnist", "solver": "unipc", "nfe": "nfe8",
    }  # fmt: skip
    solvers = ["ddim", {"h": {"solver": "heun", "nfe": [4, 8]}}, {"u": {"solver": "unipc"}}]
    said = described({"solvers": solvers, "nfe": [4, 6]})
    assert said == {"solver": "ddim,h,u", "nfe": "nfe4,6,8"}
    own = {"_target_": "strangers.Midpoint"}  # of a package that is not here
    assert described({"solver": own}) == {"solver": "strangers:Midpoint"}


def test_jobs_before_noise_had_a_version_are_joined_among_themselves(
    quick_cli: Run, tmp_path: Path
) -> None:
    """Their seeds are other images than those of today: no pairs of both."""
    for solver in ("ddim", "unipc"):
        job(quick_cli, solver, f"solvers=[{solver}]", "samples=[4]")

    def age(name: str) -> None:
        old = results(tmp_path / name)
        for each in (*old["rows"], *old["points"], *old["provenance"]["cells"]):
            each.pop("noise_version", None)
        (tmp_path / name / "results.json").write_text(json.dumps(old))

    age("ddim")
    refusal = quick_cli("join", "ddim", "unipc", "hydra.run.dir=both", ok=False)
    assert "folders: of versions 1 and 2 of the noise" in refusal.stderr
    assert "run the older jobs again" in refusal.stderr
    age("unipc")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "_draw", lambda output, comparison: None)
        quick_cli("join", "ddim", "unipc", "hydra.run.dir=both")
    assert {row["noise_version"] for row in results(tmp_path / "both")["rows"]} == {1}
    assert (tmp_path / "both" / "results.csv").read_text().count("\n") == 3
