"""The report: tables, plots and a page that needs nothing but itself."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import get_class
from PIL import Image

from sde_diffusion.config import groups
from sde_diffusion.images.sheet import image_grid, png_bytes
from sde_diffusion.report import Comparison, write_report
from sde_diffusion.report.citations import bibtex, known
from sde_diffusion.report.comparison import PROTOCOL, REAL, measured, point
from sde_diffusion.report.formats import text_table
from sde_diffusion.report.html import cards, page, show
from sde_diffusion.report.jobs import jobs_page
from sde_diffusion.report.plots import (
    BARS,
    BELOW,
    DASHED,
    DOTTED,
    FRONT,
    HOLLOW,
    OTHERS,
    OUT,
    band,
    fd_vs_nfe,
    fd_vs_samples,
    fd_vs_seconds,
    front,
    round_numbers,
)
from sde_diffusion.report.ranking import Ranking, Standing
from sde_diffusion.report.style import COLOURS, brief, look, spaced, spread
from sde_diffusion.report.tables import cell_line, csv_of, standings
from sde_diffusion.report.widths import loss_vs_width
from sde_diffusion.sampling.film import Film
from sde_diffusion.system.output import Output
from sde_diffusion.system.tracking import NoTracker

KINDS = ("png", "svg", "pdf")
DRAWN = {"nfe": fd_vs_nfe, "samples": fd_vs_samples, "seconds": fd_vs_seconds}
UNSAFE = "<b>uni&pc</b>"


def row(solver: str, nfe: float, samples: int, fd: float, low: float | None) -> dict[str, Any]:
    known = low is not None
    return {
        **dict.fromkeys(PROTOCOL, ""),
        "solver": solver, "nfe": nfe, "samples": samples, "block": 0, "fd": fd, "floor": 0.5,
        "floor_debiased": None, "seconds": 1.25, "ms_per_image": nfe, "fd_low": low,
        "fd_debiased": low + 0.1 if known else None, "fd_high": low + 0.2 if known else None,
        "standard_error": 0.05 if known else None, "seeds": "0-499", "grid": "Karras",
        "note": "", "kid": 0.01, "kid_error": 0.001, "revision": "abc1234",
    }  # fmt: skip


ROWS = [
    row("ddim", 4.0, 100, 9.0, None),
    row("ddim", 4.0, 500, 7.0, 6.0),
    row("ddim", 8.0, 100, 4.0, None),
    row("ddim", 8.0, 500, 3.0, -0.15),
    row(UNSAFE, 4.0, 100, 2.5, None),
    row(UNSAFE, 4.0, 500, 2.0, 1.0),
    row(UNSAFE, 8.0, 100, 5.5, None),
    row(UNSAFE, 8.0, 500, 5.0, 4.0),
]
RANKINGS = [
    Ranking(4.0, 500, [Standing(UNSAFE, 1, 2.0, 1.1),
                       Standing("ddim", 2, 7.0, 6.1, 5.0, 4.5, 5.5, False)], "two at once"),
    Ranking(8.0, 500, [Standing("ddim", 1, 3.0, 2.1),
                       Standing(UNSAFE, 2, 5.0, 4.1, 2.0, -0.5, 4.5, True, 784)], "two at once"),
]  # fmt: skip
PIXELS = torch.full((3, 1, 4, 4), 200, dtype=torch.uint8)
FILM = Film(torch.tensor([80.0, 1.0]), PIXELS.repeat(3, 1, 1, 1, 1), PIXELS.repeat(3, 1, 1, 1, 1))
FACTS = {"model": "mnist", "metric": "FD[mnist-cnn]", "date": "2026-01-01",
         "config": {"nfe": [4, 8]}, "cells": []}  # fmt: skip
COMPARISON = Comparison(
    ROWS,
    [point([r], r) for r in ROWS],
    RANKINGS,
    {500: {name: ROWS[1][name] for name in ("samples", "fd", "fd_debiased", "fd_low", "fd_high")}},
    {(s, n): PIXELS for s in ("ddim", UNSAFE) for n in ("4", "8")},
    FACTS,
    {"ddim": FILM, UNSAFE: FILM},
)


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


@pytest.mark.parametrize("sign", ["\x1b", "\u202e", "\x9b", "\x00", "\x07"])
def test_names_are_shown_and_never_obeyed(sign: str) -> None:
    """Of models, data, classes and solvers: neither markup nor control reaches page or terminal."""
    name = f"<script>alert(1)</script>{sign}[31m'\"&"
    rows = [{**row, "solver": name} if row["solver"] == UNSAFE else row for row in ROWS]
    rankings = [
        dataclasses.replace(
            ranking,
            standings=[
                dataclasses.replace(s, solver=name) if s.solver == UNSAFE else s
                for s in ranking.standings
            ],
        )
        for ranking in RANKINGS
    ]
    facts = {**FACTS, "model": name, "data": name, "classes": [name], "command": name,
             "left_out": [name], "config": {"label": name}, "metric": f"FD[{name}]"}  # fmt: skip
    comparison = dataclasses.replace(
        COMPARISON,
        rows=rows,
        points=[point([r], r) for r in rows],
        rankings=rankings,
        shown={(s, n): PIXELS for s in ("ddim", name) for n in ("4", "8")},
        facts=facts,
        films={},
    )
    table = text_table(comparison)
    text = page(comparison, [], {"text": table, name: name})
    for shown in (table, text):
        assert sign not in shown
        assert repr(sign)[1:-1] in shown
    assert "<script>alert" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 5
    assert len(table.splitlines()) == len(text_table(COMPARISON).splitlines()) + 1  # left out


def test_lines_show_intervals_only_where_they_are() -> None:
    assert "bias removed" not in cell_line(ROWS[0])
    assert " ".join(cell_line(ROWS[1]).split()).endswith("bias removed 6.10 [6.00, 6.20]")
    assert "block 2" in cell_line({**ROWS[1], "block": 2})


def test_a_card_says_what_is_sure_and_what_more_samples_would_settle() -> None:
    first, second = cards(COMPARISON)
    assert [line["value"] for line in first["lines"]] == ["1.10", "6.10"]
    assert [line["place"] for line in first["lines"]] == ["1", "2"]
    assert first["lines"][1]["remark"] == "+5.0 [4.5, 5.5]"
    assert second["lines"][1]["place"] == "≈"
    assert second["lines"][1]["remark"] == (
        "not distinguishable: +2.0 [−0.50, 4.5]; N\u00a0≈\u00a0780 would settle it"
    )


def test_the_number_beside_a_rank_is_the_one_that_ranks() -> None:
    best, other = (
        Standing("ddim", 1, 0.541, 0.16),
        Standing(UNSAFE, 2, 0.539, 0.171, 0.01, -0.1, 0.1, True),
    )
    ranked = dataclasses.replace(COMPARISON, rankings=[Ranking(8.0, 500, [best, other], "one")])
    assert [line["value"] for line in cards(ranked)[0]["lines"]] == ["0.160", "0.171"]
    assert "without the bias of a finite N; the" in page(ranked, [], {})
    few = [dataclasses.replace(s, place=None, fd_debiased=None) for s in (other, best)]
    withheld = dataclasses.replace(ranked, rankings=[Ranking(8.0, 500, few, "withheld")])
    assert [line["value"] for line in cards(withheld)[0]["lines"]] == ["0.539", "0.541"]
    assert "without the bias of a finite N; the" not in page(withheld, [], {})


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


def test_plots_take_the_colours_of_the_page() -> None:
    for draw in (fd_vs_nfe, fd_vs_samples, fd_vs_seconds):
        plot = draw(COMPARISON)
        svg = plot.element
        assert svg.startswith("<svg")
        for colour in ("--c0", "--c1", "--soft", "--line"):
            assert f"var({colour})" in svg
        assert not re.search(r"#(?:[0-9a-f]{6})\b", re.sub(r'(?:id|href)="[^"]*"', "", svg))
        assert "ddim" in svg
        assert svg.count(' class="tip"') == len(plot.tips) >= 4


def test_a_marker_says_its_number_and_its_interval() -> None:
    plots = [draw(COMPARISON) for draw in (fd_vs_nfe, fd_vs_samples, fd_vs_seconds)]
    assert "bias removed 6.1 [6, 6.2]" in page(COMPARISON, plots, {})


def test_a_caption_says_what_is_in_its_plot_and_no_more() -> None:
    marked = {name: draw(COMPARISON).caption for name, draw in DRAWN.items()}
    assert BARS in marked["nfe"]
    assert FRONT in marked["seconds"]
    assert FRONT not in marked["nfe"]
    assert HOLLOW in marked["samples"]
    assert BELOW in marked["samples"]  # ddim's -.05 without bias
    assert OTHERS in marked["samples"]
    blind = [{**row, "fd_debiased": None, "fd_low": None, "fd_high": None, "floor": None,
              "standard_error": None} for row in COMPARISON.points]  # fmt: skip
    without = fd_vs_samples(dataclasses.replace(COMPARISON, points=blind)).caption
    assert not {BARS, HOLLOW, DOTTED, DASHED, BELOW, OUT} & set(without)


def test_an_interval_that_leaves_the_plot_has_an_arrow_at_the_edge() -> None:
    def caption(low: float, value: float) -> list[str]:
        points = [
            {
                **row,
                "fd_low": low * row["fd"],
                "fd_debiased": value * row["fd"],
                "fd_high": row["fd"],
            }
            for row in COMPARISON.points
        ]
        return fd_vs_samples(dataclasses.replace(COMPARISON, points=points)).caption

    assert OUT in caption(-0.05, 0.9)
    assert OUT not in caption(0.8, 0.9)
    below = caption(-0.05, -0.01)  # its triangle stands where the arrow would
    assert BELOW in below
    assert not {OUT, HOLLOW} & set(below)


def test_a_solver_alone_has_no_others() -> None:
    alone = [point for point in COMPARISON.points if point["solver"] == "ddim"]
    assert OTHERS not in fd_vs_samples(dataclasses.replace(COMPARISON, points=alone)).caption


def test_every_wide_table_says_that_it_scrolls() -> None:
    jobs = [{"job": "0", "seed": 0}, {"job": "1", "seed": 4}]
    text = page(dataclasses.replace(COMPARISON, facts={**FACTS, "jobs": jobs}), [], {})
    signs = re.findall(r'<p class="note sign">[^<]*</p>\n<div class="wide', text)
    assert len(signs) == text.count('<div class="wide') == 2


def test_real_images_without_a_value_have_no_line() -> None:
    top = dataclasses.replace(COMPARISON, points=COMPARISON.points[:6])
    assert REAL in text_table(top)
    floor = {**COMPARISON.floors[500], "fd_debiased": None, "fd_low": None, "fd_high": None}
    assert REAL not in text_table(dataclasses.replace(top, floors={500: floor}))


def test_every_mark_of_a_solver_can_be_hidden_with_it() -> None:
    for draw in DRAWN.values():
        plot = draw(COMPARISON)
        owners = re.findall(r'<g data-solver="([^"]*)"', plot.element)
        assert {"ddim", "&lt;b&gt;uni&amp;pc&lt;/b&gt;"} <= set(owners)
        assert len(owners) == len(plot.series)


def test_the_page_is_narrowed_copied_and_repeated() -> None:
    facts = {**FACTS, "command": "sde-diffusion compare 'nfe=[4,8]'", "with_every_default": "<all>"}
    text = page(dataclasses.replace(COMPARISON, facts=facts), [], {"LaTeX": r"a & \b"})
    for key, value in (("n", "100"), ("n", "500"), ("nfe", "4"), ("nfe", "8")):
        assert re.search(rf'data-key="{key}">.*data-v="{value}"', text)
    assert text.count('<button type="button" data-solver=') == 2
    assert r"<pre>a &amp; \b</pre>" in text
    assert "sde-diffusion compare &#39;nfe=[4,8]&#39;" in text
    assert "&lt;all&gt;" in text
    assert "may be negative" in " ".join(
        text.split()
    )  # there is one: it is explained where it stands
    few = [{**row, "fd_debiased": None, "kid": -0.1} for row in COMPARISON.points]
    withheld = page(dataclasses.replace(COMPARISON, points=few, floors={}), [], {})
    assert "may be negative" in " ".join(withheld.split())
    assert "≈ marks those" in text  # likewise
    alone = page(dataclasses.replace(COMPARISON, rankings=RANKINGS[:1]), [], {})
    assert "≈ marks those" not in alone
    assert "two at once" in alone


def test_a_heading_stands_over_its_column() -> None:
    """Words begin at the left and numbers end at the right, the heading as what is below it."""
    text = jobs_page("sample", [{"job": "0", "solver.order": "2", "nfe": 4.0}], None, {})
    assert '<th scope="col" class="word">solver.order</th><th scope="col">nfe</th>' in text
    assert '<td class="word">2</td><td>4' in text
    assert re.search(r"\.wide \{[^}]*no-repeat local[^}]*no-repeat scroll", text)  # shadows


def test_every_solver_is_cited() -> None:
    for name in groups.names("solver"):
        solver = get_class(groups.node("solver", name)["_target_"])
        assert name == "calibrated" or solver.papers, name
        assert all(paper in known() for paper in solver.papers), name
    entries = bibtex(["2302.04867", "2302.04867", "2301.00001", "doi:10.1/x"])
    assert entries.count("@") == 4
    assert "UniPC" in entries
    assert "eprint = {2301.00001}" in entries


def test_no_two_solvers_look_alike() -> None:
    seen = [tuple(look(i).values()) for i in range(32)]
    assert len(set(seen)) == 32
    assert len(set(COLOURS)) == 8


def test_labels_are_spread_and_keep_their_order() -> None:
    wanted = [0.5, 0.52, 0.9, 0.51, 0.1]
    found = spread(wanted, 0.1, 0.0, 1.0)
    order = sorted(range(5), key=lambda i: wanted[i])
    heights = [found[i] for i in order]
    assert all(b - a >= 0.1 - 1e-9 for a, b in pairwise(heights))
    assert (found[2], found[4]) == (0.9, 0.1)  # those that are free stay
    assert found[3] == pytest.approx(0.51)  # a block stands around the mean of its wishes
    crowded = spread([0.5] * 30, 0.1, 0.0, 1.0)
    assert min(crowded) == 0.0
    assert max(crowded) == pytest.approx(1.0)


def test_a_name_that_has_no_room_keeps_its_ends() -> None:
    assert brief("unipc-order3") == "unipc-order3"
    assert brief("a_long_sampler_name_of_yours, 2") == "a_long_sampl…of_yours, 2"
    assert len(brief("x" * 99, 16)) == 16


def test_ticks_do_not_touch() -> None:
    assert spaced([10, 4, 5, 20], 1.5) == [4, 10, 20]


def test_a_point_far_above_the_others_is_an_arrow_with_its_number() -> None:
    far = [{**row, "fd": 5000.0} if (row["solver"], row["nfe"]) == ("ddim", 4.0) else row
           for row in COMPARISON.points]  # fmt: skip
    plot = fd_vs_nfe(dataclasses.replace(COMPARISON, points=far))
    assert "5,000" in plot.element
    (axes,) = plot.figure.axes
    assert axes.get_ylim()[1] < 30


def test_round_numbers_are_enough_for_an_axis() -> None:
    assert round_numbers(3, 60) == [5, 10, 20, 50]
    assert len(round_numbers(18, 40)) >= 3
    assert round_numbers(15.2, 16.8) == [16]  # the axis of a single point


def test_the_front_holds_what_nothing_beats() -> None:
    fast, good, worse = ({"ms_per_image": t, "fd": f} for t, f in ((1, 9), (5, 2), (6, 3)))
    assert front([worse, good, fast]) == [fast, good]


def test_the_band_of_the_plug_in_is_its_sampling_spread() -> None:
    assert band(ROWS[0]) is None
    assert band(ROWS[1]) == pytest.approx((7 - 1.96 * 0.05, 7 + 1.96 * 0.05), rel=1e-4)


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
    shown = [show(v) for v in (None, 0.5, -7.25, 1234.5, 7, "a", True)]
    assert shown == ["–", "0.500", "−7.25", "1234", "7", "a", "True"]


def test_the_ticks_of_the_widths_differ() -> None:
    losses = [0.83919, 0.83892, 0.83903, 0.83958, 0.84144]
    widths = [0.03, 0.05, 0.08, 0.12, 0.2]
    rows = [{"width": w, "loss": loss} for w, loss in zip(widths, losses, strict=True)]
    axes = loss_vs_width(rows).figure.axes[0]
    axes.figure.canvas.draw()
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    assert len(set(labels)) == len(labels) > 3


def test_notes_of_differences_say_at_which_evaluations_they_hold() -> None:
    same = page(COMPARISON, [], {})
    assert "At each number of evaluations: two at once. " in same
    other = dataclasses.replace(RANKINGS[1], note="three at once")
    apart = page(dataclasses.replace(COMPARISON, rankings=[RANKINGS[0], other]), [], {})
    assert "At 4 evaluations: two at once. At 8 evaluations: three at once. " in apart


def test_whole_numbers_of_jobs_have_no_decimals() -> None:
    made = jobs_page("sample", [{"job": "0", "nfe": 8.0, "fd": 3.43895, "note": None}], "fd", {})
    assert re.findall(r"<td[^>]*>([^<]*)</td>", made) == ["0", "8", "3.439", "–"]
