"""Streaming statistics: any grouping of batches gives the same mean and covariance."""

from __future__ import annotations

import pytest
import torch

from sde_diffusion.errors import InputError
from sde_diffusion.metrics.stats import FeatureStats

from .gaussians import generator

# Offset 10 in unit variance: raw float32 moments lose their digits here.
X = 10 + torch.randn(500, 12, dtype=torch.float64, generator=generator(0))


def same(a: FeatureStats, b: FeatureStats) -> bool:
    scale = X.var(0).sum() * len(X)
    return a.n == b.n and bool(
        (a.mean - b.mean).abs().max() <= 1e-12 * 10 and (a.M2 - b.M2).abs().max() <= 1e-12 * scale
    )


def test_of_is_the_textbook_mean_and_covariance() -> None:
    found = FeatureStats.of(X)
    torch.testing.assert_close(found.mean, X.mean(0), rtol=1e-14, atol=0)
    torch.testing.assert_close(found.cov, X.T.cov(), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("size", [1, 7, 100, 499, 500, 1000])
def test_batches_of_any_size(size: int) -> None:
    streamed = FeatureStats.empty(12)
    for part in X.split(size):
        streamed = streamed.update(part)
    assert same(streamed, FeatureStats.of(X))


def test_merge_in_any_order() -> None:
    a, b, c = (FeatureStats.of(part) for part in X.split([3, 400, 97]))
    assert same(a.merge(b).merge(c), c.merge(a.merge(b)))
    assert same(a.merge(b.merge(c)), b.merge(c).merge(a))


def test_an_empty_batch_changes_nothing() -> None:
    found = FeatureStats.empty(12).update(X[:0]).update(X).update(X[:0])
    assert same(found, FeatureStats.of(X))


def test_update_leaves_the_former_statistics_alone() -> None:
    first = FeatureStats.of(X[:100])
    mean, m2 = first.mean.clone(), first.M2.clone()
    first.update(X[100:])
    assert torch.equal(first.mean, mean)
    assert torch.equal(first.M2, m2)


def test_half_precision_features_are_summed_in_float64() -> None:
    half = X.to(torch.float16)
    assert same(FeatureStats.of(half), FeatureStats.of(half.double()))


def test_raw_float32_moments_are_seen_to_be_wrong() -> None:
    x = (X + 990).float()
    true = FeatureStats.of(x).cov
    raw = x.T @ x / len(x) - torch.outer(x.mean(0), x.mean(0))
    assert (raw - true).abs().max() > 0.01
    streamed = FeatureStats.empty(12)
    for part in x.split(50):
        streamed = streamed.update(part)
    assert (streamed.cov - true).abs().max() < 1e-11


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_for_a_covariance(n: int) -> None:
    with pytest.raises(InputError, match="at least 2"):
        _ = FeatureStats.of(X[:n]).cov
