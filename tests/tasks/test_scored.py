"""``sample`` with an extractor: a distance that is evaluate's, which a sweep can make small."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.conftest import Run

PIXEL = ["extractor=pixel", "extractor.pool=8", "statistics=digits"]


def test_the_distance_is_that_of_evaluate_and_is_logged(
    quick_cli: Run, tmp_path: Path, tiny_model: str
) -> None:
    words = [f"checkpoint={tiny_model}", "n=12", "nfe=3", "batch_size=5", "solver=ddim"]
    done = quick_cli("sample", *words, *PIXEL, "tracker=csv", "hydra.run.dir=out")
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    judged = ["evaluate", "images=out", *PIXEL[:2], "reference=digits", "metric=[]"]
    quick_cli(*judged, "hydra.run.dir=seen")
    (row,) = json.loads((tmp_path / "seen" / "result.json").read_text())["rows"]
    assert result["fd"] == pytest.approx(row["fd"], rel=1e-6)
    assert (result["samples"], result["metric"]) == (12, "FD[pixel8]")
    assert f"FD[pixel8]  N=12: {row['fd']:.4g}" in done.stdout
    with open(tmp_path / "out" / "metrics.csv", newline="") as file:
        (logged,) = csv.DictReader(file)
    assert float(logged["fd"]) == result["fd"]


def test_jobs_are_ranked_by_it(quick_cli: Run, tmp_path: Path, tiny_model: str) -> None:
    words = [f"checkpoint={tiny_model}", "n=4", "solver=ddim", *PIXEL, "hydra.sweep.dir=many"]
    quick_cli("sample", "-m", "nfe=2,3,4", *words)
    rows = json.loads((tmp_path / "many" / "joined" / "results.json").read_text())["rows"]
    assert [row["fd"] for row in rows] == sorted(row["fd"] for row in rows)
    assert len(rows) == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("statistics=digits", "statistics=digits: nothing sees them; give extractor=NAME too"),
        ("extractor=pixel statistics=digits n=1", "n=1: a distance needs 2 images or more"),
        ("extractor=pixel n=4", "statistics: none is shipped for extractor pixel4; give statistic"),
        ("extractor=mnist-cnn n=4", "statistics: mnist-train is of images (1, 28, 28), and the"),
        ("extractor=pixel statistics=nosuch.npz n=4", "statistics=nosuch.npz: "),
    ],
)
def test_what_cannot_be_judged_is_refused(
    quick_cli: Run, tiny_model: str, words: str, said: str
) -> None:
    done = quick_cli("sample", f"checkpoint={tiny_model}", "nfe=2", *words.split(), ok=False)
    assert done.returncode == 2
    assert said in done.stderr
