"""``sample`` with an extractor: a distance that is evaluate's, which a sweep can make small."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import sde_diffusion
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


def test_evaluate_knows_that_the_classes_of_samples_were_set(
    quick_cli: Run, tmp_path: Path
) -> None:
    """It took off the bias of classes that fall by chance, which such samples never had."""
    pool = ["extractor=pixel", "extractor.pool=7"]  # 16 features, so 80 images have an interval
    drawn = ["n=80", "nfe=2", "solver=ddim", "statistics=real.npz", "hydra.run.dir=out"]
    real = np.random.default_rng(0).integers(0, 256, (100, 28, 28, 1), np.uint8)
    np.savez(tmp_path / "real.npz", images=real)
    quick_cli("sample", *drawn, *pool)
    with np.load(tmp_path / "out" / "samples.npz") as file:
        held = dict(file)
    assert held["labels"].tolist() == [k % 10 for k in range(80)]
    wanted = json.loads((tmp_path / "out" / "result.json").read_text())
    assert wanted["fd_debiased"] is not None
    for name, counts in (("out", ""), ("out", "samples=[40,80]")):
        words = [f"images={name}", *pool, "reference=real.npz", "metric=[]", *counts.split()]
        quick_cli("evaluate", *words, "hydra.run.dir=seen")
        row = json.loads((tmp_path / "seen" / "result.json").read_text())["rows"][-1]
        for key in ("fd_debiased", "fd_low", "fd_high"):
            assert row[key] == pytest.approx(wanted[key], rel=1e-6)
    # Of whatever else has labels nobody says that they were set.
    np.savez(tmp_path / "other.npz", images=held["images"], labels=held["labels"])
    words = ["images=other.npz", *pool, "reference=real.npz", "metric=[]"]
    quick_cli("evaluate", *words, "hydra.run.dir=other")
    (row,) = json.loads((tmp_path / "other" / "result.json").read_text())["rows"]
    assert abs(row["fd_debiased"] / wanted["fd_debiased"] - 1) > 1e-4
    with_python = sde_diffusion.evaluate(
        sde_diffusion.load("mnist").sample(n=80, nfe=2, solver="ddim", label="all"),
        str(tmp_path / "real.npz"), extractor="pixel", extractor__pool=7, metrics=(),
    )  # fmt: skip
    assert with_python[0]["fd_low"] == pytest.approx(wanted["fd_low"], rel=1e-5)


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
