"""Fréchet distances against closed forms, on every route, and the known wrong ways beside them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.metrics.frechet import (
    Reference,
    congruent,
    frechet_curve,
    frechet_distance,
    frechet_of_features,
    times_root,
)
from sde_diffusion.metrics.stats import FeatureStats

from .gaussians import D, covariance, generator, rotation, spectrum, stats_of, transported

CONDITIONS = [1e0, 1e2, 1e4, 1e6]


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, dtype=D, generator=generator(seed))


def reference(cov: Tensor, mean: Tensor | None = None) -> Reference:
    zero = torch.zeros(len(cov), dtype=D)
    return Reference.from_stats(stats_of(cov, zero if mean is None else mean))


def by_singular_values(x: Tensor, ref: Reference) -> float:
    """The same distance from singular values, which carry no square root of a rounding error."""
    centred = x - x.mean(0)
    nuclear = torch.linalg.svdvals(centred @ ref.root).sum() / (len(x) - 1) ** 0.5
    shift2 = (x.mean(0) - ref.mean).square().sum()
    return float(shift2 + x.var(0).sum() + ref.cov.trace() - 2 * nuclear)


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("d", [1, 16, 64, 200])
def test_commuting_gaussians(d: int, condition: float) -> None:
    q, values = rotation(d, 1), spectrum(d, condition)
    cov_0, cov = (q * values) @ q.T, (q * values.flip(0)) @ q.T
    mean_0, mean = normal(2, d, 2)
    found = frechet_distance(stats_of(cov, mean), reference(cov_0, mean_0)).value
    true = (mean - mean_0).square().sum() + (values.sqrt() - values.flip(0).sqrt()).square().sum()
    assert abs(found - float(true)) <= 1e-12 * float(cov.trace() + cov_0.trace() + true)


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("d", [2, 16, 64, 200])
def test_gaussians_that_do_not_commute(d: int, condition: float) -> None:
    cov_0 = covariance(d, condition, 3)
    cov, cross = transported(cov_0, 4)
    assert (cov @ cov_0 - cov_0 @ cov).abs().max() > 1e-6 or condition == 1
    mean_0, mean = normal(2, d, 5)
    found = frechet_distance(stats_of(cov, mean), reference(cov_0, mean_0)).value
    true = (mean - mean_0).square().sum() + cov.trace() + cov_0.trace() - 2 * cross
    assert abs(found - float(true)) <= 1e-12 * float(cov.trace() + cov_0.trace() + true)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_distance_to_itself_is_zero(condition: float) -> None:
    cov = covariance(64, condition, 6)
    found = frechet_distance(stats_of(cov, torch.ones(64, dtype=D)), reference(cov, torch.ones(64)))
    assert abs(found.value) <= 1e-9 * float(cov.trace())
    assert found.rank == 64


@pytest.mark.parametrize("d", [5, 128, 129, 300])
def test_bands_of_a_triangular_root(d: int) -> None:
    """The products that leave the zeros out, against whole ones; other roots have no such zeros."""
    cov, root = covariance(d, 1e2, 31), torch.linalg.cholesky(covariance(d, 1e2, 32))
    nearly = root.clone()
    nearly[0, -1] = 1e-3
    x = normal(7, d, 33)
    for r in (root, nearly, root.T, root[:, : d // 2], covariance(d, 1e2, 34)):
        torch.testing.assert_close(times_root(x, r), x @ r, rtol=1e-12, atol=1e-12)
        found = congruent(cov, r).tril()
        torch.testing.assert_close(found, (r.T @ cov @ r).tril(), rtol=1e-12, atol=1e-12)


def test_symmetric_in_its_two_sides() -> None:
    a, b = stats_of(covariance(32, 1e4, 7), normal(1, 32, 8)[0]), stats_of(
        covariance(32, 10.0, 9), normal(1, 32, 10)[0]
    )  # fmt: skip
    there = frechet_distance(a, Reference.from_stats(b)).value
    back = frechet_distance(b, Reference.from_stats(a)).value
    assert there == pytest.approx(back, rel=1e-12)


@pytest.mark.parametrize("n", [2, 3, 20, 63, 64, 65, 200])
@pytest.mark.parametrize("condition", [1e0, 1e4])
def test_features_fewer_and_more_than_dimensions(n: int, condition: float) -> None:
    ref, x = reference(covariance(64, condition, 11)), normal(n, 64, 12) + 0.3
    found, true = frechet_of_features(x, ref), by_singular_values(x, ref)
    scale = float(x.var(0).sum() + ref.cov.trace())
    assert abs(found.value - true) <= 1e-9 * scale
    assert found.rank == min(n - 1, 64)


def test_few_features_of_known_singular_values() -> None:
    """Six points on three axes: nuclear norm of the centred features known by hand."""
    d, lengths = 40, torch.tensor([3.0, 2.0, 1.0], dtype=D)
    q = rotation(d, 13)
    arms = lengths[:, None] * q[:, :3].T
    x = torch.cat([arms, -arms])
    ref = reference(torch.eye(d, dtype=D))
    variances = 2 * lengths**2 / 5
    true = float(variances.sum() + d - 2 * variances.sqrt().sum())
    found = frechet_of_features(x, ref)
    assert abs(found.value - true) <= 1e-9 * (float(variances.sum()) + d)
    assert found.rank == 3


@pytest.mark.parametrize("where", ["reference", "features", "both", "apart"])
@pytest.mark.parametrize("n", [10, 48, 49, 400])
def test_dead_and_dependent_features(where: str, n: int) -> None:
    basis = rotation(64, 14)
    thin = (basis[:, :48] * spectrum(48, 1e3)) @ basis[:, :48].T
    full = covariance(64, 1e3, 15)
    ref = reference(thin if where in ("reference", "both", "apart") else full)
    width = {"reference": slice(0, 64), "features": slice(0, 48), "both": slice(0, 48)}
    columns = basis[:, width.get(where, slice(16, 64))]
    x = normal(n, columns.shape[1], 16) @ columns.T
    x[:, -1] += 1e-3
    found, true = frechet_of_features(x, ref), by_singular_values(x, ref)
    scale = float(x.var(0).sum() + ref.cov.trace())
    assert abs(found.value - true) <= 1e-9 * scale
    overlap = {"reference": 48, "features": 48, "both": 48, "apart": 32}[where]
    assert found.rank == min(n - 1, overlap)
    streamed = frechet_distance(FeatureStats.of(x), ref)
    assert abs(streamed.value - true) <= 1e-9 * scale


def test_a_rank_deficient_set_is_at_no_distance_from_itself() -> None:
    x = normal(300, 48, 17) @ rotation(64, 18)[:, :48].T
    x[:, 5] = 0.25
    stats = FeatureStats.of(x)
    found = frechet_distance(stats, Reference.from_stats(stats))
    assert abs(found.value) <= 1e-9 * float(stats.cov.trace())
    assert found.rank == 48


def test_images_that_are_all_the_same() -> None:
    point = stats_of(torch.zeros(8, 8, dtype=D), torch.ones(8, dtype=D))
    x = normal(100, 8, 19)
    found = frechet_of_features(x, Reference.from_stats(point))
    true = float((x.mean(0) - 1).square().sum() + x.var(0).sum())
    assert found.value == pytest.approx(true, rel=1e-13)
    assert found.rank == 0


def test_curve_is_the_single_distances() -> None:
    ref, x = reference(covariance(24, 1e3, 20), normal(1, 24, 21)[0]), normal(300, 24, 22)
    counts = [2, 10, 24, 25, 26, 100, 300]
    curve = frechet_curve(x, ref, counts)
    for n, found in zip(counts, curve, strict=True):
        assert found.value == pytest.approx(frechet_of_features(x[:n], ref).value, rel=1e-12)
        assert found.value == pytest.approx(by_singular_values(x[:n], ref), rel=1e-9)
        assert found.rank == min(n - 1, 24)


@pytest.mark.parametrize("d", [24, 200])
def test_curve_in_the_coordinates_of_the_root(d: int) -> None:
    """With many numbers above d the features are projected once; far and sorted ones too."""
    ref, x = reference(covariance(d, 1e3, 35), normal(1, d, 36)[0]), normal(4 * d, d, 37) + 50
    x = torch.cat([x[:d], x[d:] + 3])
    counts = [2, d - 1, d, d + 1, 2 * d, 3 * d, 4 * d]
    for n, found in zip(counts, frechet_curve(x, ref, counts), strict=True):
        stats = FeatureStats.of(x[:n])
        scale = float(x[:n].var(0).sum() + ref.cov.trace())
        assert abs(found.value - frechet_distance(stats, ref).value) <= 1e-10 * found.value
        assert abs(found.value - by_singular_values(x[:n], ref)) <= 1e-9 * scale
        assert found.rank == min(n - 1, d)


def test_moving_both_sets_changes_nothing() -> None:
    ref = reference(covariance(16, 1e2, 23))
    x, offset = normal(100, 16, 24), 1000.0
    moved = Reference(ref.mean + offset, ref.cov, ref.n, ref.root)
    apart = frechet_of_features(x + offset, moved).value - frechet_of_features(x, ref).value
    assert abs(apart) <= 1e-10


# Known wrong ways, kept to prove that the tolerances above see them.


def with_float32(x: Tensor, ref: Reference) -> float:
    """Covariance and eigenvalues in float32."""
    cov, root = x.float().T.cov(), ref.root.float()
    values = torch.linalg.eigvalsh(root.T @ cov @ root).clamp_min(0)
    shift2 = (x.float().mean(0) - ref.mean.float()).square().sum()
    return float(shift2 + cov.trace() + ref.cov.float().trace() - 2 * values.sqrt().sum())


def with_eps(x: Tensor, ref: Reference, eps: float = 1e-6) -> float:
    """eps on both diagonals inside the root, as published code does to rescue its sqrtm."""
    eye = eps * torch.eye(x.shape[1], dtype=D)
    root = torch.linalg.cholesky(ref.cov + eye)
    values = torch.linalg.eigvalsh(root.T @ (x.T.cov() + eye) @ root)
    shift2 = (x.mean(0) - ref.mean).square().sum()
    return float(shift2 + x.var(0).sum() + ref.cov.trace() - 2 * values.sqrt().sum())


def with_null_modes(x: Tensor, ref: Reference) -> float:
    """The d x d route for N < d with all its rounding kept."""
    values = torch.linalg.eigvalsh(ref.root.T @ x.T.cov() @ ref.root).clamp_min(0)
    shift2 = (x.mean(0) - ref.mean).square().sum()
    return float(shift2 + x.var(0).sum() + ref.cov.trace() - 2 * values.sqrt().sum())


@pytest.mark.parametrize("wrong", [with_float32, with_eps, with_null_modes])
def test_wrong_ways_miss_the_tolerance(wrong: object) -> None:
    ref, x = reference(covariance(64, 1e4, 25)), normal(20, 64, 26) + 10
    true, scale = by_singular_values(x, ref), float(x.var(0).sum() + ref.cov.trace())
    assert abs(wrong(x, ref) - true) > 1e-9 * scale  # type: ignore[operator]
    assert abs(frechet_of_features(x, ref).value - true) <= 1e-12 * scale


def test_eps_misses_on_dead_features_too() -> None:
    ref = reference(torch.diag(torch.cat([torch.ones(8), torch.zeros(56)]).to(D)))
    x = torch.cat([normal(500, 8, 27), torch.zeros(500, 56, dtype=D)], dim=1)
    true = by_singular_values(x, ref)
    assert abs(with_eps(x, ref, 1e-3) - true) > 0.1 * true
    assert frechet_of_features(x, ref).value == pytest.approx(true, rel=1e-9)


@pytest.mark.parametrize("counts", [[], [1, 5], [5, 5], [9, 5], [5, 11]])
def test_counts_that_cannot_be(counts: list[int]) -> None:
    with pytest.raises(InputError, match="samples="):
        frechet_curve(normal(10, 4, 28), reference(torch.eye(4, dtype=D)), counts)


def test_features_of_another_width() -> None:
    ref = reference(torch.eye(4, dtype=D))
    with pytest.raises(InputError, match="one extractor for both"):
        frechet_of_features(normal(10, 5, 29), ref)
    with pytest.raises(InputError, match="one extractor for both"):
        frechet_distance(FeatureStats.of(normal(10, 5, 30)), ref)
