"""Plots: what they show, say, and leave out."""

from __future__ import annotations

import dataclasses
import re
from itertools import pairwise

import pytest
import torch

from sde_diffusion.images.sheet import image_grid, png_bytes
from sde_diffusion.report.html import page
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
from sde_diffusion.report.style import COLOURS, brief, look, spaced, spread
from sde_diffusion.report.widths import loss_vs_width
from tests.report.example import COMPARISON, ROWS

DRAWN = {"nfe": fd_vs_nfe, "samples": fd_vs_samples, "seconds": fd_vs_seconds}


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


def test_every_mark_of_a_solver_can_be_hidden_with_it() -> None:
    for draw in DRAWN.values():
        plot = draw(COMPARISON)
        owners = re.findall(r'<g data-solver="([^"]*)"', plot.element)
        assert {"ddim", "&lt;b&gt;uni&amp;pc&lt;/b&gt;"} <= set(owners)
        assert len(owners) == len(plot.series)


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


def test_the_ticks_of_the_widths_differ() -> None:
    losses = [0.83919, 0.83892, 0.83903, 0.83958, 0.84144]
    widths = [0.03, 0.05, 0.08, 0.12, 0.2]
    rows = [{"width": w, "loss": loss} for w, loss in zip(widths, losses, strict=True)]
    axes = loss_vs_width(rows).figure.axes[0]
    axes.figure.canvas.draw()
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    assert len(set(labels)) == len(labels) > 3
