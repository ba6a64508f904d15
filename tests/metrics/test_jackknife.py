"""Leave-one-out by formula against leaving one out, and samples whose classes were set."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sde_diffusion.metrics.frechet import Reference, frechet_of_features, root_of
from sde_diffusion.metrics.inference import debiased, paired_difference
from sde_diffusion.metrics.jackknife import (
    PlainFold,
    gaussian_reference,
    leave_one_out,
    quadrature,
    strata_of,
    stratum_of_reference,
)
from sde_diffusion.metrics.stats import ROWS, FeatureStats

from .gaussians import D, covariance, generator, stats_of

DIM, CLASSES, REPLICATES = 8, 5, 300


def normal(n: int, d: int, g: torch.Generator) -> Tensor:
    return torch.randn(n, d, dtype=D, generator=g)


def weighted_distance(x: Tensor, w: Tensor, n: int, ref: Reference) -> float:
    """Distance of samples with weights w that sum to 1 and count as n."""
    mean = w @ x
    cov = (w[:, None] * (x - mean)).T @ (x - mean) * (n / (n - 1))
    values = torch.linalg.eigvalsh(ref.root.T @ cov @ ref.root).clamp_min(0)
    shift2 = (mean - ref.mean).square().sum()
    return float(shift2 + cov.trace() + ref.cov.trace() - 2 * values.sqrt().sum())


@pytest.mark.parametrize("classes", [1, 3, 7])
def test_each_sample_really_left_out(classes: int) -> None:
    n, d = 90, 6
    labels = torch.arange(n) % classes
    x = normal(n, d, generator(0)) + 0.3 * labels[:, None] + 0.4
    x[:, -1] *= 1e-3
    ref = Reference.from_stats(stats_of(covariance(d, 1e3, 1), torch.zeros(d, dtype=D), 100))
    cov = x.T.cov()
    roots = torch.linalg.eigvalsh(ref.root.T @ cov @ ref.root).sqrt().sum()
    plain = PlainFold(n, cov, x.mean(0) - ref.mean, roots, ref.root)
    whole = weighted_distance(x, torch.ones(n, dtype=D) / n, n, ref)
    for label, part in enumerate(strata_of(x, labels, FeatureStats.of(x))):
        change, rows = leave_one_out(plain, part), (labels == label).nonzero()[:, 0]
        true = []
        for k in rows:
            w = torch.ones(n, dtype=D) / n
            w[rows] *= len(rows) / (len(rows) - 1)
            w[k] = 0
            true.append(weighted_distance(x, w, n - 1, ref) - whole)
        torch.testing.assert_close(change.each, torch.tensor(true, dtype=D), rtol=0, atol=1e-7)
        torch.testing.assert_close(change.mean, change.each.mean(), rtol=0, atol=1e-12)


def left_out(x: Tensor, ref: Reference) -> tuple[Tensor, Tensor]:
    """Changes by formula, and by leaving out."""
    n, cov = len(x), x.T.cov()
    values = torch.linalg.eigvalsh(ref.root.T @ cov @ ref.root).clamp_min(0)
    plain = PlainFold(n, cov, x.mean(0) - ref.mean, values.sqrt().sum(), ref.root)
    even = torch.ones(n, dtype=D) / (n - 1)
    true = [weighted_distance(x, even * (torch.arange(n) != k), n - 1, ref) for k in range(n)]
    whole = weighted_distance(x, even * ((n - 1) / n), n, ref)
    return leave_one_out(plain, strata_of(x, None, FeatureStats.of(x))[0]).each, torch.tensor(
        true, dtype=D
    ) - whole


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-6])
def test_a_feature_that_one_sample_alone_has(scale: float) -> None:
    """Without that sample the direction is gone: the steepest change there is, still finite."""
    x = normal(60, 5, generator(8))
    x[:, 0] *= 1e3
    x[:, -1] = 0
    x[7, -1] = scale
    cov_0 = torch.diag(torch.tensor([1e6, 1, 1, 1, scale**2], dtype=D))
    found, true = left_out(x, Reference.from_stats(stats_of(cov_0, torch.zeros(5, dtype=D))))
    assert found.isfinite().all()
    root = scale**2 / 60**0.5  # what this one sample adds to tr M^1/2
    torch.testing.assert_close(
        found, true, rtol=1e-6, atol=1e-3 * root + 1e-9 * float(cov_0.trace())
    )


def test_one_stratum_is_no_strata() -> None:
    g = generator(2)
    x, ref = normal(80, DIM, g), Reference.from_stats(FeatureStats.of(normal(200, DIM, g)))
    assert debiased(x, ref) == debiased(x, ref, strata=torch.full((80,), 3))


def test_in_blocks_it_is_the_same() -> None:
    """Of so many samples that they are gone through in several."""
    g, n = generator(2), 2 * ROWS + 100
    x, ref = normal(n, DIM, g), Reference.from_stats(FeatureStats.of(normal(200, DIM, g)))
    stats = FeatureStats.of(x)
    torch.testing.assert_close(stats.cov, x.T.cov(), rtol=1e-12, atol=1e-14)
    roots = torch.linalg.eigvalsh(ref.root.T @ stats.cov @ ref.root).sqrt().sum()
    plain = PlainFold(n, stats.cov, stats.mean - ref.mean, roots, ref.root)
    stratum = strata_of(x, None, stats)[0]
    whole = leave_one_out(plain, stratum)
    parts = [leave_one_out(plain, replace(stratum, rows=rows)) for rows in stratum.rows.split(1000)]
    each = torch.cat([part.each for part in parts])
    torch.testing.assert_close(whole.each, each, rtol=0, atol=1e-14)
    torch.testing.assert_close(whole.mean, each.mean(), rtol=0, atol=1e-14)
    found = frechet_of_features(x, ref).value
    wanted = (stats.mean - ref.mean).square().sum() + stats.cov.trace() + ref.cov.trace()
    assert found == pytest.approx(float(wanted - 2 * roots), rel=1e-12)


@pytest.mark.parametrize("condition", [1.0, 1e4, 1e12])
def test_quadrature(condition: float) -> None:
    """(1/pi) int log(1 + l / t^2) dt = sqrt(l), within the range of scales it was made for."""
    values = torch.tensor([1.0, condition**0.5, condition], dtype=D)
    nodes, weights = quadrature(values)
    # A difference of two logarithms, as in the formula: it falls off at both ends.
    found = (torch.log1p(values / nodes[:, None] ** 2) - torch.log1p(1 / nodes**2)[:, None]).T
    torch.testing.assert_close(found @ weights, values.sqrt() - 1, rtol=1e-7, atol=1e-7)


def test_the_gaussian_closed_form_is_the_mean_over_gaussian_references() -> None:
    """Bias and error against 200 references that are whitened to the same statistics."""
    g, n = generator(3), 10 * DIM
    cov_0, x = covariance(DIM, 30.0, 4), normal(400, DIM, g) + 0.2
    root_0, cov = root_of(cov_0), x.T.cov()
    ref = Reference.from_stats(stats_of(cov_0, torch.zeros(DIM, dtype=D), n))
    values, vectors = torch.linalg.eigh(ref.root.T @ cov @ ref.root)
    roots, shift = values.sqrt().sum(), x.mean(0) - ref.mean
    closed = gaussian_reference(ref, shift, values, vectors)
    plain, biases, errors2 = PlainFold(n, ref.cov, -shift, roots, root_of(cov)), [], []
    for _ in range(200):
        z = normal(n, DIM, g)
        z = torch.linalg.solve_triangular(
            torch.linalg.cholesky(z.T.cov()), (z - z.mean(0)).T, upper=False
        )
        change = leave_one_out(plain, stratum_of_reference(z.T @ root_0.T, ref)[0])
        biases.append(float(change.bias))
        errors2.append(float((n - 1) ** 2 / n * change.each.var()))
    mean_bias, mean_error2 = (float(torch.tensor(v).mean()) for v in (biases, errors2))
    assert float(closed.bias) == pytest.approx(mean_bias, rel=0.01)
    assert closed.variance() == pytest.approx(mean_error2, rel=0.1)


class Mixture:
    """Classes of known means and roots; samples with labels in rotation, or drawn."""

    def __init__(self, shift: float, scale: float) -> None:
        self.means = normal(CLASSES, DIM, generator(5)) * 0.7 + shift
        self.roots = [scale * root_of(covariance(DIM, 30.0, 10 + h)) for h in range(CLASSES)]
        mean = self.means.mean(0)
        within = torch.stack([r @ r.T for r in self.roots]).mean(0)
        self.cov = within + (self.means - mean).T @ (self.means - mean) / CLASSES
        self.mean = mean

    def sample(self, noise: Tensor, labels: Tensor) -> Tensor:
        roots = torch.stack(self.roots)[labels]
        return (roots @ noise[:, :, None])[:, :, 0] + self.means[labels]


def true_distance(a: Mixture, b: Mixture) -> float:
    values = torch.linalg.eigvalsh(root_of(b.cov).T @ a.cov @ root_of(b.cov))
    shift2 = (a.mean - b.mean).square().sum()
    return float(shift2 + a.cov.trace() + b.cov.trace() - 2 * values.sqrt().sum())


@pytest.mark.parametrize("n", [10 * DIM, 50 * DIM])
def test_classes_in_rotation(n: int) -> None:
    """The i.i.d. formula, the buggy twin, takes off a bias that such samples never had."""
    real, fake = Mixture(0.0, 1.0), Mixture(0.05, 1.1)
    true, g, rows = true_distance(fake, real), generator(6), []
    ref = Reference.from_stats(stats_of(real.cov, real.mean, 10**9))
    labels = torch.arange(n) % CLASSES
    for _ in range(REPLICATES):
        x = fake.sample(normal(n, DIM, g), labels)
        found, twin = debiased(x, ref, strata=labels), debiased(x, ref)
        low, high = found.interval or (0.0, 0.0)
        plug_in = frechet_of_features(x, ref).value
        rows.append([plug_in, found.value, twin.value, low <= true <= high, found.standard_error])
    table = torch.tensor(rows, dtype=D)
    plug_in, value, twin, coverage, error = table.mean(0).tolist()
    spread = float(table[:, 1].std())
    bias, noise = plug_in - true, spread / REPLICATES**0.5
    assert bias > 5 * noise
    assert abs(value - true) < 0.05 * bias + 2 * noise
    assert twin - true < -0.2 * bias
    assert 0.91 <= coverage <= 0.995
    # Too large rather than too small: at N = 10 d the second-order term, counted twice, is felt.
    assert 0.9 * spread < error < 2**0.5 * spread


def test_pairs_of_classes_in_rotation() -> None:
    real, a, b = Mixture(0.0, 1.0), Mixture(0.05, 1.1), Mixture(0.05, 1.05)
    true, g, n = true_distance(a, real) - true_distance(b, real), generator(7), 20 * DIM
    ref = Reference.from_stats(stats_of(real.cov, real.mean, 10**9))
    labels, inside, values = torch.arange(n) % CLASSES, 0, []
    for _ in range(REPLICATES):
        noise = normal(n, DIM, g)
        found = paired_difference(
            a.sample(noise, labels), b.sample(noise, labels), ref, strata=labels
        )
        low, high = found.interval or (0.0, 0.0)
        inside += low <= true <= high
        values.append(found.value or 0.0)
    assert 0.91 <= inside / REPLICATES <= 0.995
    mean, spread = float(torch.tensor(values).mean()), float(torch.tensor(values).std())
    assert abs(mean - true) < 3 * spread / REPLICATES**0.5
