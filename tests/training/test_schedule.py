"""Learning rates: a linear rise, then what each schedule promises."""

from __future__ import annotations

from itertools import pairwise

import pytest

from sde_diffusion.training.schedule import Constant, Cosine, InverseSqrt, Linear, Schedule
from tests.refusals import refused

ALL = [Cosine(), Linear(), Constant(), InverseSqrt(30)]
name = pytest.mark.parametrize("schedule", ALL, ids=lambda s: type(s).__name__)


def shares(schedule: Schedule, warmup: int = 10, steps: int = 110) -> list[float]:
    return [schedule.share(step, warmup, steps) for step in range(1, steps + 1)]


@name
def test_the_rise_is_linear_and_no_share_exceeds_one(schedule: Schedule) -> None:
    found = shares(schedule)
    assert found[:10] == pytest.approx([k / 10 for k in range(1, 11)])
    assert all(0 <= share <= 1 for share in found)
    assert all(a >= b for a, b in pairwise(found[9:]))


@name
def test_without_a_rise_the_first_step_counts(schedule: Schedule) -> None:
    assert 0 < schedule.share(1, 0, 4) <= 1


def test_half_way_and_at_the_end() -> None:
    for schedule in (Cosine(), Linear()):
        found = shares(schedule)
        assert found[9 + 50] == pytest.approx(0.5)
        assert found[-1] == pytest.approx(0, abs=1e-12)
        assert all(a > b for a, b in pairwise(found[9:]))
    assert set(shares(Constant())[9:]) == {1.0}


def test_the_inverse_square_root_halves_at_four_plateaus() -> None:
    found = shares(InverseSqrt(25))
    assert found[24] == 1.0
    assert found[99] == pytest.approx(0.5)
    # It does not depend on how long the run is, so that any run can be prolonged.
    assert found == shares(InverseSqrt(25), steps=200)[:110]


def test_a_plateau_of_nothing_is_refused() -> None:
    with refused("schedule.plateau=0"):
        InverseSqrt(0)
