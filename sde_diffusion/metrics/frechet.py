"""Frechet distance between Gaussians fitted to features, by routes that are stable.

FD = |mu - mu_0|^2 + tr S + tr S_0 - 2 tr (S_0^1/2 S S_0^1/2)^1/2 (Dowson & Landau 1982). With a
root S_0 = R R^T the last trace is the sum of square roots of the eigenvalues of R^T S R, which is
the covariance of the features projected by R. All algebra is float64; nothing is added to a
diagonal, and a negative result is returned as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.metrics.stats import FeatureStats


@dataclass(frozen=True)
class Reference:
    """The reference's mean [d], covariance [d, d], count, and a root R of the covariance."""

    mean: Tensor
    cov: Tensor
    n: int
    root: Tensor

    @classmethod
    def from_stats(cls, stats: FeatureStats) -> Reference:
        """The root is taken once: Cholesky, or the symmetric one where that fails."""
        return cls(stats.mean, stats.cov, stats.n, root_of(stats.cov))


@dataclass(frozen=True)
class Distance:
    """A Frechet distance, the numerical rank of S^1/2 S_0 S^1/2, and the mass clipped at zero."""

    value: float
    rank: int
    clipped: float


def root_of(cov: Tensor) -> Tensor:
    """R with R R^T = cov, for a positive semi-definite cov [d, d]."""
    root, failed = torch.linalg.cholesky_ex(cov)
    if int(failed) == 0:
        return root
    values, vectors = torch.linalg.eigh(cov)
    return vectors * values.clamp_min(0).sqrt()


def _distance(shift2: Tensor, trace: Tensor, reference: Reference, values: Tensor) -> Distance:
    kept = values.clamp_min(0)
    floor = kept.max() * len(kept) * torch.finfo(torch.float64).eps if len(kept) else 0.0
    total = shift2 + trace + reference.cov.trace() - 2 * kept.sqrt().sum()
    return Distance(float(total), int((kept > floor).sum()), float((kept - values).sum()))


def frechet_distance(stats: FeatureStats, reference: Reference) -> Distance:
    """Distance of a covariance given as statistics; exact for n > d, valid for any n."""
    if stats.n < 2:
        raise InputError(f"samples={stats.n}: a covariance needs at least 2")
    values = torch.linalg.eigvalsh(reference.root.T @ stats.cov @ reference.root)
    shift2 = (stats.mean - reference.mean).square().sum()
    return _distance(shift2, stats.cov.trace(), reference, values)


def frechet_curve(
    features: Tensor, reference: Reference, counts: Sequence[int]
) -> list[Distance]:
    """Distances of the prefixes features[:n], n in the increasing ``counts``, in one pass.

    The features are projected by R once; then each n costs one eigvalsh, of the d x d covariance of
    the projection, or of its n x n Gram matrix where n <= d.
    """
    if any(a >= b for a, b in zip(counts, counts[1:], strict=False)):
        raise InputError(f"samples={list(counts)}: give increasing numbers")
    if min(counts) < 2 or max(counts) > len(features):
        raise InputError(f"samples={list(counts)}: give numbers from 2 to {len(features)}")
    x = features.to(torch.float64)
    y = (x - reference.mean) @ reference.root
    stats, plain, found = FeatureStats.empty(x.shape[1]), FeatureStats.empty(x.shape[1]), []
    done = 0
    for n in counts:
        stats, plain = stats.update(y[done:n]), plain.update(x[done:n])
        done = n
        if n > x.shape[1]:
            values = torch.linalg.eigvalsh(stats.cov)
        else:
            centred = y[:n] - stats.mean
            # Centring makes one null mode, whose rounding would enter as a square root of eps.
            values = torch.linalg.eigvalsh(centred @ centred.T / (n - 1))[1:]
        shift2 = (plain.mean - reference.mean).square().sum()
        found.append(_distance(shift2, plain.cov.trace(), reference, values))
    return found
