"""The report: tables, plots and a page that needs nothing but itself."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from sde_diffusion.pictures import image_grid, png_bytes
from sde_diffusion.report import write_report
from sde_diffusion.report.html import findings, show
from sde_diffusion.report.tables import best_by_nfe, cell_line, csv_bytes, text_table
from sde_diffusion.tracking import NoTracker


def row(solver: str, nfe: float, samples: int, fd: float, low: float | None) -> dict[str, Any]:
    return {
        "solver": solver, "nfe": nfe, "samples": samples, "fd": fd, "floor": 0.5, "seconds": 1.25,
        "fd_debiased": None if low is None else low + 0.1, "fd_low": low, "nfe_asked": int(nfe),
        "fd_high": None if low is None else low + 0.2, "steps": 4, "order": 1, "rank": 64,
        "couples_batch": False,
        "stochastic": False, "grid": "Karras", "sde": "EDM", "extractor": "mnist-cnn",
        "model": "mnist", "dtype": "float32", "device": "cpu", "seed_first": 0, "note": "",
        "target": "sde_diffusion.solvers.ddim.DDIM",
    }  # fmt: skip


ROWS = [
    row("ddim", 4.0, 100, 9.0, None),
    row("ddim", 4.0, 500, 7.0, 6.0),
    row("ddim", 8.0, 100, 4.0, None),
    row("ddim", 8.0, 500, 3.0, 2.0),
    row("<b>uni&pc</b>", 4.0, 500, 2.0, 1.0),
    row("<b>uni&pc</b>", 8.0, 500, 5.0, 4.0),
]
SHOWN = {(s, n): torch.full((3, 1, 4, 4), 200, dtype=torch.uint8)
         for s in ("ddim", "<b>uni&pc</b>") for n in ("4", "8")}  # fmt: skip
FACTS = {"model": "mnist", "date": "2026-01-01", "config": {"nfe": [4, 8]}, "cells": []}


def test_best_of_each_nfe_at_the_largest_number_of_samples() -> None:
    best = best_by_nfe(ROWS)
    assert {nfe: r["fd"] for nfe, r in best.items()} == {4.0: 2.0, 8.0: 3.0}
    assert findings(ROWS)[1] == "At 8 evaluations: ddim with 3, 6.0 times the floor."


def test_the_text_table_marks_the_best_and_dashes_what_is_missing() -> None:
    table = text_table(ROWS[:4] + ROWS[4:5])
    assert "FD[mnist-cnn] at N = 500, real floor 0.50" in table
    assert "2.00*" in table
    assert "3.00 " in table  # alone at its NFE: the best of one is no finding
    assert table.splitlines()[-1].rstrip().endswith("-")


def test_lines_show_intervals_only_where_they_are() -> None:
    assert "bias removed" not in cell_line(ROWS[0])
    assert " ".join(cell_line(ROWS[1]).split()).endswith("bias removed 6.10 [6.00, 6.20]")


def test_all_files_are_written_and_the_page_stands_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_report(tmp_path, ROWS, SHOWN, FACTS, NoTracker())
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"results.csv", "results.json", "fd_vs_samples.png", "fd_vs_nfe.png",
                     "samples.png", "report.html"}  # fmt: skip
    page = (tmp_path / "report.html").read_text()
    assert not re.search(r"""(?:src|href)=["'](?!data:)""", page)
    assert "https:" not in page
    assert "<b>uni" not in page
    assert "&lt;b&gt;uni&amp;pc" in page
    assert "prefers-color-scheme: dark" in page
    assert page.count("<tr>") == 1 + len(ROWS)
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["format"] == 1
    assert content["rows"] == ROWS
    read = list(csv.DictReader(io.StringIO((tmp_path / "results.csv").read_text())))
    assert [float(r["fd"]) for r in read] == [r["fd"] for r in ROWS]
    for name in ("fd_vs_samples", "fd_vs_nfe"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert picture.width > 600
    assert "report:" in capsys.readouterr().out


def test_csv_refuses_a_row_without_its_columns() -> None:
    with pytest.raises(KeyError):
        csv_bytes([{"solver": "ddim"}], FACTS)


def test_grid_puts_images_in_rows() -> None:
    images = torch.arange(3, dtype=torch.uint8).mul(100)[:, None, None, None].expand(3, 1, 2, 2)
    picture = image_grid(images, columns=2, scale=1)
    assert picture.size == (5, 5)
    assert [picture.getpixel(at) for at in ((0, 0), (3, 0), (0, 3))] == [0, 100, 200]
    assert picture.getpixel((2, 0)) == 96
    assert png_bytes(picture).startswith(b"\x89PNG")
    colour = image_grid(torch.zeros(1, 3, 2, 2, dtype=torch.uint8))
    assert colour.mode == "RGB"
    assert colour.size == (64, 64)


def test_show() -> None:
    assert [show(v) for v in (None, 0.123456, 7, "a", True)] == ["–", "0.1235", "7", "a", "True"]
