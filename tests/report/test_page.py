"""The page, which needs nothing but itself."""

from __future__ import annotations

import dataclasses
import re

import pytest

from sde_diffusion.report.comparison import point
from sde_diffusion.report.formats import text_table
from sde_diffusion.report.html import cards, page, show
from sde_diffusion.report.jobs import jobs_page
from sde_diffusion.report.ranking import Ranking, Standing
from tests.report.example import COMPARISON, FACTS, PIXELS, RANKINGS, ROWS, UNSAFE


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


def test_every_wide_table_says_that_it_scrolls() -> None:
    jobs = [{"job": "0", "seed": 0}, {"job": "1", "seed": 4}]
    text = page(dataclasses.replace(COMPARISON, facts={**FACTS, "jobs": jobs}), [], {})
    signs = re.findall(r'<p class="note sign">[^<]*</p>\n<div class="wide', text)
    assert len(signs) == text.count('<div class="wide') == 2


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


def test_show() -> None:
    shown = [show(v) for v in (None, 0.5, -7.25, 1234.5, 7, "a", True)]
    assert shown == ["–", "0.500", "−7.25", "1234", "7", "a", "True"]


def test_notes_of_differences_say_at_which_evaluations_they_hold() -> None:
    same = page(COMPARISON, [], {})
    assert "At each number of evaluations: two at once. " in same
    other = dataclasses.replace(RANKINGS[1], note="three at once")
    apart = page(dataclasses.replace(COMPARISON, rankings=[RANKINGS[0], other]), [], {})
    assert "At 4 evaluations: two at once. At 8 evaluations: three at once. " in apart


def test_whole_numbers_of_jobs_have_no_decimals() -> None:
    made = jobs_page("sample", [{"job": "0", "nfe": 8.0, "fd": 3.43895, "note": None}], "fd", {})
    assert re.findall(r"<td[^>]*>([^<]*)</td>", made) == ["0", "8", "3.439", "–"]
