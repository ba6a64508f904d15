"""Fréchet distance between Gaussians fitted to features, by routes that are stable.

FD = |mu - mu_0|^2 + tr S + tr S_0 - 2 tr (S_0^1/2 S S_0^1/2)^1/2 (Dowson & Landau 1982). With a
root S_0 = R R^T the last trace is the sum of square roots of the eigenvalues of R^T S R, or of the
n x n Gram matrix of the features projected by R where these are fewer. All algebra is float64;
nothing is added to a diagonal, and a negative result is returned as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.metrics.stats import ROWS, FeatureStats, checked, gram

EPS = torch.finfo(torch.float64).eps
# Bands that a triangular root is cut into, and the least width of one: in narrower ones the calls
# cost more than the zeros.
BANDS, MIN_BAND = 8, 128
# Variances below are none: what the quadrature of ``jackknife`` squares would underflow.
TINY = 1e-280


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
    """A Fréchet distance; the numerical rank of S_0^1/2 S S_0^1/2; the mass it leaves out."""

    value: float
    rank: int
    clipped: float


def above_rounding(values: Tensor) -> Tensor:
    """Which eigenvalues of a covariance are more than its rounding, its numerical rank."""
    # eigvalsh sorts upwards; a spectrum of no values at all is sliced without an error.
    return values > (values[-1:] * (len(values) * EPS)).clamp_min(TINY)


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


def times_root(x: Tensor, root: Tensor) -> Tensor:
    """x R [n, r] of x [n, d] and R [d, r]; of a triangular R without the zeros of most bands."""
    bands = _bands(root)
    if len(bands) == 1:
        return x @ root
    product = torch.empty(len(x), root.shape[1], dtype=torch.float64)
    for i, j in bands:
        torch.mm(x[:, i:], root[i:, i:j], out=product[:, i:j])
    return product


def congruent(cov: Tensor, root: Tensor) -> Tensor:
    """R^T S R [r, r] of symmetric S [d, d], right in the lower triangle, the one that eigh reads.

    For a triangular R two fifths of the work, in few and large products. LAPACK's own reduction
    is made of small ones, whose threads wait for each other.
    """
    half = times_root(cov, root)
    product = torch.zeros(root.shape[1], root.shape[1], dtype=cov.dtype)
    for i, j in _bands(root):
        product[i:j, :j] = root[i:, i:j].T @ half[i:, :j]
    return product


def _bands(root: Tensor) -> list[tuple[int, int]]:
    """Columns i to j of R that are zero above row i; all columns, if it is not so in each."""
    rank = root.shape[1]
    width = max(MIN_BAND, ceil(rank / BANDS))
    bands = [(i, min(i + width, rank)) for i in range(0, rank, width)]
    lower = len(root) == rank and not any(bool(root[:i, i:j].any()) for i, j in bands)
    return bands if lower else [(0, rank)]


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

    The statistics grow from prefix to prefix, in the root's coordinates y = R^T x where that is
    less work, and each n costs one eigvalsh: of R^T S R, or of the n x n Gram matrix of the y.
    """
    if any(a >= b for a, b in pairwise(counts)):
        raise InputError(f"samples={list(counts)}: not increasing; give increasing numbers")
    if not counts or min(counts) < 2 or max(counts) > len(features):
        raise InputError(f"samples={list(counts)}: give numbers from 2 to {len(features)}")
    x, root = checked(features[: counts[-1]]), reference.root
    check_width(x.shape[1], reference)
    rank, distances = root.shape[1], []
    # R^T S R costs as much as 1.5 d rows of y, and is needed for each n > rank.
    project = 1.5 * len(root) * sum(n > rank for n in counts) > counts[-1]
    rows = counts[-1] if project else max((n for n in counts if n <= rank), default=0)
    # About a point amid the features: squares lose no digits to where they lie.
    y = times_root(x[:rows] - x.mean(0), root)
    stats = FeatureStats.empty(rank if project else len(root))
    done, mean, squares = 0, torch.zeros_like(reference.mean), torch.zeros((), dtype=torch.float64)
    for n in counts:
        mean, squares = _grown(mean, squares, done, x[done:n])
        if n > rank:
            stats = stats.update((y if project else x)[stats.n : n])
            values = torch.linalg.eigvalsh(stats.cov if project else congruent(stats.cov, root))
        else:
            # Centring makes one null mode, whose rounding would enter as a square root of eps.
            values = torch.linalg.eigvalsh(gram((y[:n] - y[:n].mean(0)).T) / (n - 1))[1:]
        shift2, done = (mean - reference.mean).square().sum(), n
        distances.append(_distance(shift2, squares / (n - 1), reference, values))
    return distances


def _grown(mean: Tensor, squares: Tensor, n: int, more: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [d] of n features, and sum of their squared distances from it, with more [N, d]."""
    new = more.mean(0)
    apart, share = new - mean, len(more) / (n + len(more))
    within = torch.stack([(part - new).square().sum() for part in more.split(ROWS)]).sum()
    return mean + share * apart, squares + within + n * share * apart.square().sum()
