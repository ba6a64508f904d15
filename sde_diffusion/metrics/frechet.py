"""Frechet distance between Gaussians fitted to features, by routes that are stable.

FD = |mu - mu_0|^2 + tr S + tr S_0 - 2 tr (S_0^1/2 S S_0^1/2)^1/2 (Dowson & Landau 1982). With a
root S_0 = R R^T the last trace is the sum of square roots of the eigenvalues of R^T S R, or of the
n x n Gram matrix of the features projected by R where these are fewer. All algebra is float64;
nothing is added to a diagonal, and a negative result is returned as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from scipy.linalg.lapack import dsygst
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.metrics.stats import FeatureStats

EPS = torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class Reference:
    """The reference's mean [d], covariance [d, d], count, and a root R [d, rank] of the latter."""

    mean: Tensor
    cov: Tensor
    n: int
    root: Tensor

    @classmethod
    def from_stats(cls, stats: FeatureStats) -> Reference:
        """The root is taken once: Cholesky, or by eigenvectors where that fails."""
        return cls(stats.mean, stats.cov, stats.n, root_of(stats.cov))


@dataclass(frozen=True)
class Distance:
    """A Frechet distance; the numerical rank of S_0^1/2 S S_0^1/2; the mass it leaves out."""

    value: float
    rank: int
    clipped: float


def above_rounding(values: Tensor) -> Tensor:
    """Which eigenvalues of a covariance are more than its rounding, its numerical rank."""
    # eigvalsh sorts upwards; a spectrum of no values at all is sliced without an error.
    return values > values[-1:].clamp_min(0) * len(values) * EPS


def root_of(cov: Tensor) -> Tensor:
    """R [d, rank] with R R^T = cov, for a positive semi-definite cov [d, d]."""
    root, failed = torch.linalg.cholesky_ex(cov)
    pivots = root.diagonal().square()
    if int(failed) == 0 and bool((pivots > cov.diagonal().max() * len(cov) * EPS).all()):
        return root
    values, vectors = torch.linalg.eigh(cov)
    # A null direction kept would enter the distance as the square root of its rounding.
    kept = above_rounding(values)
    return vectors[:, kept] * values[kept].sqrt()


def congruent(cov: Tensor, root: Tensor) -> Tensor:
    """Lower triangle, the one that eigh reads, of R^T S R [r, r]; S [d, d] symmetric, R [d, r]."""
    square = root.shape[0] == root.shape[1] and root.device.type == "cpu"
    if not square or bool(root.triu(1).any()):
        return root.T @ cov @ root
    # LAPACK's reduction for a triangular R, a quarter of the work; transposed: it counts columns.
    upper, _ = dsygst(cov.T.numpy(), root.T.numpy(), itype=2, lower=0)
    return torch.from_numpy(upper).T


def check_width(features: int, reference: Reference) -> None:
    """InputError unless both have the same number of features d."""
    if features != len(reference.mean):
        raise InputError(
            f"reference: has {len(reference.mean)} features, the images {features}; "
            "use one extractor for both"
        )


def _distance(shift2: Tensor, trace: Tensor, reference: Reference, values: Tensor) -> Distance:
    kept = above_rounding(values)
    total = shift2 + trace + reference.cov.trace() - 2 * values[kept].sqrt().sum()
    return Distance(float(total), int(kept.sum()), float(values[~kept].abs().sum()))


def frechet_distance(stats: FeatureStats, reference: Reference) -> Distance:
    """Distance of streamed statistics, made for n > d; from features where there are fewer."""
    check_width(len(stats.mean), reference)
    values = torch.linalg.eigvalsh(congruent(stats.cov, reference.root))
    shift2 = (stats.mean - reference.mean).square().sum()
    return _distance(shift2, stats.cov.trace(), reference, values)


def frechet_of_features(features: Tensor, reference: Reference) -> Distance:
    """Distance of features [N, d], for any N >= 2."""
    return frechet_curve(features, reference, [len(features)])[0]


def frechet_curve(features: Tensor, reference: Reference, counts: Sequence[int]) -> list[Distance]:
    """Distances of the prefixes features[:n], n in the increasing ``counts``, in one pass.

    The statistics grow from prefix to prefix, and each n costs one eigvalsh, of R^T S R or of the
    n x n Gram matrix of projected features.
    """
    if any(a >= b for a, b in pairwise(counts)):
        raise InputError(f"samples={list(counts)}: not increasing; give increasing numbers")
    if not counts or min(counts) < 2 or max(counts) > len(features):
        raise InputError(f"samples={list(counts)}: give numbers from 2 to {len(features)}")
    check_width(features.shape[1], reference)
    x, root = features[: counts[-1]].to(torch.float64), reference.root
    stats, done, found = FeatureStats.empty(x.shape[1]), 0, []
    for n in counts:
        if n > root.shape[1]:
            stats, done = stats.update(x[done:n]), n
            found.append(frechet_distance(stats, reference))
            continue
        mean = x[:n].mean(0)
        centred = x[:n] - mean
        y = centred @ root
        # Centring makes one null mode, whose rounding would enter as a square root of eps.
        values = torch.linalg.eigvalsh(y @ y.T / (n - 1))[1:]
        shift2, trace = (mean - reference.mean).square().sum(), centred.square().sum() / (n - 1)
        found.append(_distance(shift2, trace, reference, values))
    return found
