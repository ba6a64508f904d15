"""The files of a report, its tables and its citations."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from pathlib import Path

import pytest
from hydra.utils import get_class
from PIL import Image

from sde_diffusion.config import groups
from sde_diffusion.report import write_report
from sde_diffusion.report.citations import bibtex, known
from sde_diffusion.report.comparison import REAL, measured, point
from sde_diffusion.report.formats import text_table
from sde_diffusion.report.ranking import Ranking
from sde_diffusion.report.tables import cell_line, csv_of, standings
from sde_diffusion.system.output import Output
from sde_diffusion.system.tracking import NoTracker
from tests.report.example import COMPARISON, RANKINGS, ROWS, UNSAFE

KINDS = ("png", "svg", "pdf")


def test_the_text_table_marks_the_best_and_those_that_may_be() -> None:
    table = text_table(dataclasses.replace(COMPARISON, points=COMPARISON.points[:6]))
    assert "FD[mnist-cnn] at N = 500, without bias, 95 % intervals" in table
    assert "1.10 [1.00, 1.20]*" in table
    assert "6.10 [6.00, 6.20] " in table  # told apart from the best: no mark
    assert "not distinguishable" in table.splitlines()[-1]
    assert table.splitlines()[-3].rstrip().endswith("–")  # no such cell
    assert "4.10 [4.00, 4.20]~" in text_table(COMPARISON)
    alone = Ranking(4.0, 500, RANKINGS[0].standings[:1], "alone")
    lone = dataclasses.replace(COMPARISON, points=COMPARISON.points[4:6], rankings=[alone])
    assert "*" not in text_table(lone)  # the best of one is no finding


def test_lines_show_intervals_only_where_they_are() -> None:
    assert "bias removed" not in cell_line(ROWS[0])
    assert " ".join(cell_line(ROWS[1]).split()).endswith("bias removed 6.10 [6.00, 6.20]")
    assert "block 2" in cell_line({**ROWS[1], "block": 2})


def test_all_files_are_written_and_the_page_stands_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_report(Output(tmp_path, NoTracker()), COMPARISON)
    names = {path.name for path in tmp_path.iterdir()}
    plots = {f"fd_vs_{x}.{kind}" for x in ("samples", "nfe", "seconds") for kind in KINDS}
    others = {"results.csv", "results.json", "samples.png", "trajectory.webp", "report.html"}
    assert names == plots | others
    text = (tmp_path / "report.html").read_text()
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", text)
    assert not re.search(r"url\((?!#)", text)
    assert not re.search(r"https?:(?!//www\.w3\.org/)", text)  # names of SVG, which load nothing
    assert "<b>uni" not in text
    assert "&lt;b&gt;uni&amp;pc" in text
    assert "prefers-color-scheme: dark" in text
    assert "prefers-reduced-motion" in text
    assert text.count('<tr class="row') == len(ROWS) + 1
    assert text.count("abc1234") >= len(ROWS)  # the provenance of every number
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["format"] == 2
    assert content["rows"] == ROWS
    assert content["rankings"][1]["standings"][1]["settle"] == 784
    read = list(csv.DictReader(io.StringIO((tmp_path / "results.csv").read_text())))
    assert [float(r["fd"]) for r in read] == [r["fd"] for r in ROWS]
    for name in ("fd_vs_samples", "fd_vs_nfe", "fd_vs_seconds"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert picture.width > 900
    assert capsys.readouterr().out == ""


def test_no_film_no_picture_of_it(tmp_path: Path) -> None:
    write_report(Output(tmp_path, NoTracker()), dataclasses.replace(COMPARISON, films={}))
    assert not (tmp_path / "trajectory.webp").exists()
    assert "image/webp" not in (tmp_path / "report.html").read_text()


def test_real_images_without_a_value_have_no_line() -> None:
    top = dataclasses.replace(COMPARISON, points=COMPARISON.points[:6])
    assert REAL in text_table(top)
    floor = {**COMPARISON.floors[500], "fd_debiased": None, "fd_low": None, "fd_high": None}
    assert REAL not in text_table(dataclasses.replace(top, floors={500: floor}))


def test_every_solver_is_cited() -> None:
    for name in groups.names("solver"):
        solver = get_class(groups.node("solver", name)["_target_"])
        assert name == "calibrated" or solver.papers, name
        assert all(paper in known() for paper in solver.papers), name
    entries = bibtex(["2302.04867", "2302.04867", "2301.00001", "doi:10.1/x"])
    assert entries.count("@") == 4
    assert "UniPC" in entries
    assert "eprint = {2301.00001}" in entries


def test_a_point_holds_mean_spread_and_the_pooled_value() -> None:
    blocks = [{**ROWS[1], "fd": fd, "seeds": f"{k}-{k + 4}", "kid": None}
              for fd, k in ((6.0, 0), (8.0, 5))]  # fmt: skip
    found = point(blocks, {**ROWS[1], "fd_debiased": 5.5})
    assert (found["fd"], found["fd_debiased"], found["blocks"]) == (7.0, 5.5, 2)
    assert found["fd_sd"] == pytest.approx(2**0.5)
    assert (found["seeds"], found["kid"]) == ("0-9", None)
    assert measured(ROWS) == ["kid", "kid_error"]


def test_csv_refuses_a_row_without_its_columns() -> None:
    with pytest.raises(KeyError):
        csv_of(dataclasses.replace(COMPARISON, rows=[{"solver": "ddim"}]))


def test_the_ranking_is_a_table_too() -> None:
    rows = standings(COMPARISON)
    assert [(r["nfe"], r["solver"], r["place"]) for r in rows][2:] == [
        (8.0, "ddim", 1), (8.0, UNSAFE, 2),
    ]  # fmt: skip
