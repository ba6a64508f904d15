"""Energy distance against a loop, a closed form, and its own law."""

from __future__ import annotations

from math import erf, exp, pi, sqrt

import pytest
import torch
from torch import Tensor

from sde_diffusion.metrics.base import drawn
from sde_diffusion.metrics.energy import Energy, mean_distance, own_distance
from tests.refusals import refused

from .gaussians import D, generator


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, dtype=D, generator=generator(seed))


def test_every_pair_by_a_loop() -> None:
    x, y = normal(13, 3, 1) + 40, normal(11, 3, 2) + 40.5

    def mean(a: Tensor, b: Tensor, same: bool) -> float:
        pairs = [float((p - q).norm()) for i, p in enumerate(a) for j, q in enumerate(b)
                 if not (same and i == j)]  # fmt: skip
        return sum(pairs) / len(pairs)

    across, own_x, own_y = mean(x, y, False), mean(x, x, True), mean(y, y, True)
    true = 2 * across - own_x - own_y
    assert Energy()(x, y)["energy"] == pytest.approx(true, rel=1e-10)
    centre = y.mean(0)  # in several blocks, the last one short
    assert mean_distance(x - centre, y - centre, 50) == pytest.approx(across, rel=1e-10)
    assert own_distance(x - centre, 50) == pytest.approx(own_x, rel=1e-10)


def folded(m: float, variance: float) -> float:
    """E|z| of z ~ N(m, variance)."""
    return sqrt(2 * variance / pi) * exp(-(m**2) / (2 * variance)) + m * erf(m / sqrt(2 * variance))


def test_unbiased_on_a_line() -> None:
    """N(0.6, 1) against N(0, 2.25), all three means known; the V-statistic is seen to be biased."""
    true = 2 * folded(0.6, 3.25) - folded(0, 2.0) - folded(0, 4.5)
    values, biased = [], []
    for seed in range(400):
        x, y = normal(40, 1, 2 * seed) + 0.6, 1.5 * normal(50, 1, 2 * seed + 1)
        values.append(Energy()(x, y)["energy"])
        biased.append(2 * mean_distance(x, y) - mean_distance(x, x) - mean_distance(y, y))
    noise = float(torch.tensor(values).std()) / 20
    assert abs(sum(values) / 400 - true) < 3 * noise
    assert sum(biased) / 400 - true > 5 * noise


def test_at_most_so_many() -> None:
    x, y = normal(90, 2, 3), normal(70, 2, 4)
    chosen = drawn(x, 50)  # not the first: they may be sorted by class
    assert Energy(most=50)(x, y) == Energy(most=50)(chosen, y)
    with refused("metric.energy.most=1", "5000"):
        Energy(most=1)
