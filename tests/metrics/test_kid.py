"""Kernel distance: its expectation in closed form, its error by law, a loop as oracle."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.metrics.base import shuffled
from sde_diffusion.metrics.kid import KID, across, within

from .gaussians import D, generator


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, dtype=D, generator=generator(seed))


def test_two_blocks_by_hand() -> None:
    """Every pair by a Python loop."""
    x, y = normal(7, 3, 1) + 1, normal(9, 3, 2)

    def k(a: Tensor, b: Tensor) -> float:
        return (float(a @ b) / 3 + 1) ** 3

    def unbiased(a: Tensor, b: Tensor) -> float:
        own = [sum(k(p, q) for i, p in enumerate(s) for j, q in enumerate(s) if i != j)
               / (len(s) * (len(s) - 1)) for s in (a, b)]  # fmt: skip
        return sum(own) - 2 * sum(k(p, q) for p in a for q in b) / (len(a) * len(b))

    parts = [shuffled(s, seed).tensor_split(2) for seed, s in enumerate((x, y))]
    values = [unbiased(a, b) for a, b in zip(*parts, strict=True)]
    found = KID(blocks=2)(x, y)
    assert found["kid"] == pytest.approx(sum(values) / 2, rel=1e-12)
    assert found["kid_error"] == pytest.approx(abs(values[0] - values[1]) / 2, rel=1e-10)


def test_expectation_and_error_by_law() -> None:
    """x ~ N(m, 1), y ~ N(0, 1) in one dimension: MMD^2 = 9 m^2 + 9 m^4 + m^6 by moments."""
    m, metric, rows = 0.7, KID(blocks=5), []
    # E x = m, E x^2 = 1 + m^2, E x^3 = m^3 + 3 m, and (xy + 1)^3 = sum of C(3, p) x^p y^p.
    true = 3 * m**2 + 3 * (m**2) ** 2 + (m**3 + 3 * m) ** 2
    for seed in range(400):
        found = metric(normal(60, 1, 2 * seed) + m, normal(80, 1, 2 * seed + 1))
        rows.append([found["kid"], found["kid_error"] ** 2])
    values, errors2 = torch.tensor(rows, dtype=D).T
    spread = float(values.std())
    assert abs(float(values.mean()) - true) < 3 * spread / 20
    assert float(errors2.mean()) ** 0.5 == pytest.approx(spread, rel=0.15)


def test_the_biased_statistic_is_seen() -> None:
    """With the diagonal kept, equal laws stand apart."""
    x, y = normal(100, 8, 3), normal(100, 8, 4)
    kept = float(across(x, x) + across(y, y) - 2 * across(x, y))
    free = float(within(x) + within(y) - 2 * across(x, y))
    assert kept > 0.05 > abs(free)


def test_classes_in_order_do_not_matter() -> None:
    """Both shuffled alike, the classes of their blocks would match: seen at the end."""
    centre = 3 * torch.arange(1000)[:, None].div(200).floor()
    x, y = normal(1000, 4, 5) + centre, normal(1000, 4, 6) + centre
    found = KID()(x, y)
    assert abs(found["kid"]) < 3 * found["kid_error"]
    pairs = zip(*(shuffled(s, 0).tensor_split(10) for s in (x, y)), strict=True)
    values = torch.stack([within(a) + within(b) - 2 * across(a, b) for a, b in pairs])
    assert abs(float(values.mean())) > 5 * float(values.std()) / 10**0.5


def test_the_reference_is_prepared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    metric, calls = KID(), []
    prepare = metric.prepare
    monkeypatch.setattr(metric, "prepare", lambda y: calls.append(1) or prepare(y))
    x, y = normal(40, 2, 7), normal(50, 2, 8)
    first = metric(x, y)
    assert metric(x, y) == first
    metric(x, x)
    assert metric(x, y) == first
    assert len(calls) == 3


def test_wrong_inputs_are_refused() -> None:
    with pytest.raises(InputError, match="blocks=1: give 2 <= blocks"):
        KID(blocks=1)
    with pytest.raises(InputError, match=r"samples: .* N >= 20"):
        KID()(normal(19, 2, 9), normal(50, 2, 10))
    with pytest.raises(InputError, match=r"reference: .* N >= 20"):
        KID()(normal(50, 2, 9), normal(19, 2, 10))
    with pytest.raises(InputError, match="one extractor for both"):
        KID()(normal(50, 2, 9), normal(50, 3, 10))
