"""Ranks: who is best, who may be, and how sure that is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sde_diffusion.metrics.frechet import Reference, frechet_of_features
from sde_diffusion.metrics.inference import debiased, paired_difference
from sde_diffusion.metrics.stats import FeatureStats
from sde_diffusion.report.ranking import Ranking, by_distance, critical, rank

D, N = 4, 400
GENERATOR = torch.Generator().manual_seed(5)
REFERENCE = Reference.from_stats(
    FeatureStats.of(torch.randn(50_000, D, generator=GENERATOR, dtype=torch.float64))
)


def ranking(features: dict[str, Tensor]) -> Ranking:
    rows = []
    for name, x in features.items():
        rows.append({"solver": name, "nfe": 8.0, "samples": len(x),
                     "fd": frechet_of_features(x, REFERENCE).value,
                     "fd_debiased": debiased(x, REFERENCE).value})  # fmt: skip
    return rank(rows, features, REFERENCE)


def family(n: int, seed: int = 0) -> dict[str, Tensor]:
    """Paired: a small error, twins that differ by little noise, and one far off."""
    generator = torch.Generator().manual_seed(seed)
    x, e = (torch.randn(n, D, generator=generator, dtype=torch.float64) for _ in range(2))
    return {"far": 1.3 * x + 1, "twin": 1.10 * x + 0.05 * e, "good": 1.10 * x}


def test_twins_are_alike_and_the_far_one_is_not() -> None:
    found = ranking(family(N))
    best, second, last = found.standings
    assert {best.solver, second.solver} == {"good", "twin"}
    assert found.alike == [second.solver]
    assert second.low is not None
    assert second.high is not None
    assert second.low <= 0 <= second.high
    assert (last.solver, last.alike, last.place) == ("far", False, 3)
    assert last.low is not None
    assert last.low > 0
    assert last.settle is None
    assert "2 at once" in found.note


def test_the_interval_is_that_of_the_paired_difference_widened_for_two_rivals() -> None:
    features = family(N)
    found = ranking(features)
    last = found.standings[-1]
    gap = paired_difference(features["far"], features[found.best.solver], REFERENCE)
    assert gap.standard_error is not None
    assert last.difference == pytest.approx(gap.value)
    assert last.high == pytest.approx(gap.value + 2.2414 * gap.standard_error, rel=1e-4)
    assert [round(critical(k), 3) for k in (0, 1, 2, 5)] == [1.96, 1.96, 2.241, 2.576]


def test_as_many_samples_as_were_said_do_settle_it() -> None:
    few = ranking(family(100, seed=3))
    (alike,) = [s for s in few.standings if s.alike]
    assert alike.settle is not None
    assert alike.settle > 100
    many = ranking(family(30_000, seed=4))
    assert not many.alike  # far more than the guess: the twins are told apart
    assert many.best.solver == "good"


def test_the_best_is_rarely_left_out() -> None:
    # Two truly equal solvers, 200 repetitions: at most 5 % of false distinctions are allowed.
    wrong = 0
    for seed in range(200):
        generator = torch.Generator().manual_seed(100 + seed)
        x, a, b = (torch.randn(N, D, generator=generator, dtype=torch.float64) for _ in range(3))
        found = ranking({"a": 1.1 * x + 0.3 * a, "b": 1.1 * x + 0.3 * b})
        wrong += not found.alike
    assert wrong <= 19  # a binomial of 200 at 0.05 exceeds it once in a hundred


def test_below_five_d_the_plug_in_orders_and_nothing_is_ranked() -> None:
    found = ranking({name: x[: 5 * D - 1] for name, x in family(N).items()})
    assert [s.place for s in found.standings] == [None] * 3
    assert found.standings[-1].solver == "far"
    assert all(s.alike is None and s.difference is None for s in found.standings)
    assert "withheld" in found.note


def test_alone_is_no_finding() -> None:
    found = ranking({"good": family(N)["good"]})
    assert found.best.alike is None
    assert "alone" in found.note


def test_order_is_by_the_bias_removed_value_where_all_have_one() -> None:
    rows = [{"solver": "a", "fd": 1.0, "fd_debiased": 0.9},
            {"solver": "b", "fd": 2.0, "fd_debiased": 0.1}]  # fmt: skip
    assert [r["solver"] for r in by_distance(rows)] == ["b", "a"]
    rows[0]["fd_debiased"] = None
    assert [r["solver"] for r in by_distance(rows)] == ["a", "b"]
