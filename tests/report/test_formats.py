"""The copies of a page's table hold every name as it is, whatever signs are in it."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace

import pytest

from sde_diffusion.report.comparison import Comparison
from sde_diffusion.report.formats import LATEX, latex, markdown
from sde_diffusion.report.tables import csv_of
from tests.report.example import COMPARISON

NAMES = [
    r"a|b_c*d`e<f>g[h]i\j~k#l$m&n", r"100 % {x} ^2 \textbf{y}", "[2.5ex] first", "*starred",
    '"quoted", and a comma', "a\nb", "ddim, prompt=a | b", "&lt;", "≈ – −",
]  # fmt: skip


def renamed(name: str) -> Comparison:
    rows = [{**row, "solver": name} if row["solver"] == "ddim" else row for row in COMPARISON.rows]
    points = [{**p, "solver": name} if p["solver"] == "ddim" else p for p in COMPARISON.points]
    facts = {**COMPARISON.facts, "left_out": [f"{name}: diverged"]}
    return replace(COMPARISON, rows=rows, points=points, rankings=[], facts=facts)


def one_line(name: str) -> str:
    return " ".join(name.split())


@pytest.mark.parametrize("name", NAMES)
def test_markdown_has_one_row_with_the_name_in_its_first_cell(name: str) -> None:
    lines = [line for line in markdown(renamed(name)).splitlines() if line.startswith("|")]
    cells = [re.split(r"(?<!\\)\|", line.strip("|")) for line in lines]
    assert {len(each) for each in cells} == {len(cells[0])}
    read = [re.sub(r"\\(.)", r"\1", each[0].strip()).replace("&amp;", "&") for each in cells]
    assert one_line(name) in read


@pytest.mark.parametrize("name", NAMES)
def test_latex_has_one_row_with_the_name_and_no_command_of_it(name: str) -> None:
    text = latex(renamed(name))
    body = text.partition("\\midrule\n")[2].partition("\\bottomrule")[0]
    rows = body.splitlines()
    assert len(rows) == len(renamed(name).solvers) + 1  # and that of real images
    assert all(row.endswith(r" \\") for row in rows)
    assert all(line.startswith(("%", "\\", *body.split("\n"))) for line in text.splitlines())
    back = {code: sign for sign, code in LATEX.items()}
    known = re.compile("|".join(re.escape(code) for code in sorted(back, key=len, reverse=True)))
    heads = [known.sub(lambda m: back[m[0]], re.split(r"(?<!\\)&", row)[0]) for row in rows]
    assert one_line(name) in [re.sub(r"^\{(.)\}", r"\1", head.strip()) for head in heads]
    assert not any(row.startswith(("[", "*")) for row in rows)


@pytest.mark.parametrize("name", NAMES)
def test_csv_reads_back(name: str) -> None:
    read = list(csv.DictReader(io.StringIO(csv_of(renamed(name)), newline="")))
    assert len(read) == len(COMPARISON.rows)
    assert sum(row["solver"] == name for row in read) == 4
