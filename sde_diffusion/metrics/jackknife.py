"""How a Fréchet distance changes as one sample is left out: exactly, for all samples at once.

Sample k leaves stratum h of n_h among N samples, and the others of its stratum gain its weight.
With c = x_k - mean, b the stratum's mean less the mean of all, Q the stratum's mean of c c^T and
e = n_h / (N (n_h - 1)), the covariance (of weight 1 / (N - 1)) becomes exactly

    S' = (N-1)/(N-2) [ (N-1)/N S + e Q - e^2/(1+e) b b^T - (e + e^2) v v^T ],  v = c - e/(1+e) b,

and the mean moves by -e (c - b). So each sample is a change of rank one from a base that it shares
with its stratum. If R^T (base) R = U L U^T and y = U^T R^T v, then by
sqrt(l) = (1/pi) int_0^inf log(1 + l / t^2) dt and the determinant of a change of rank one

    tr sqrt(U L U^T - a y y^T) = sum_i sqrt(L_i) + (1/pi) int_0^inf log(1 - a q(t)) dt,
    q(t) = sum_i y_i^2 / (L_i + t^2),

one eigendecomposition a stratum and one matrix product for every sample and node t. The integrand
is analytic within |arg t| < pi / 2, so the trapezoid rule in log t converges exponentially.

One stratum of all samples is the usual delete-one jackknife (Efron & Stein 1981; of strata,
Jones 1974): bias = sum_h (n_h - 1) mean_h(change), and variance
sum_h (n_h - 1)/n_h sum_k (change - mean_h)^2.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import expm1, log, log1p, pi

import torch
from torch import Tensor

from sde_diffusion.metrics.frechet import Reference, above_rounding, congruent
from sde_diffusion.metrics.stats import ROWS, FeatureStats

# Trapezoid rule in log t: step, and how far below and above the extreme sqrt(L_i). Its error is
# exp(-pi^2 / STEP), exp(-3 BELOW) and exp(-3 ABOVE) of a root, 2e-8 at most; only where a sample
# alone spans a direction, and the integrand is log t there, exp(-BELOW) = 1e-4 of its root.
STEP, BELOW, ABOVE = 0.5, 9.0, 6.0


@dataclass(frozen=True)
class Stratum:
    """Samples of one stratum.

    Attributes:
        rows: x [K, d], some or all of its samples. mean: of all strata. n: its size n_h.
        moment: Q [d, d] of all n, with c = x - mean. offset: b [d].
    """

    rows: Tensor
    mean: Tensor
    n: int
    moment: Tensor
    offset: Tensor


def strata_of(x: Tensor, strata: Tensor | None, stats: FeatureStats) -> list[Stratum]:
    """The strata of a sample x [N, d] with labels [N]; one of all samples without.

    ``stats`` are those of all.
    """
    parts = [(x, stats)]
    if strata is not None:
        each = [x[strata == label] for label in strata.unique()]
        parts = [(part, FeatureStats.of(part)) for part in each]
    found = []
    for part, own in parts:
        offset = own.mean - stats.mean
        moment = own.M2 / own.n + torch.outer(offset, offset)
        found.append(Stratum(part, stats.mean, own.n, moment, offset))
    return found


def stratum_of_reference(features: Tensor, reference: Reference) -> list[Stratum]:
    """A reference as one stratum, of which ``features`` [K, d] are at hand."""
    n, mean = reference.n, reference.mean
    moment = reference.cov * ((n - 1) / n)
    return [Stratum(features, mean, n, moment, torch.zeros_like(mean))]


def quadrature(values: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes t and weights of (1/pi) int_0^inf dt for functions with scales sqrt(values).

    None for no values: where one side does not vary there is no root to change.
    """
    if len(values) == 0:
        return values, values
    s = values.sqrt()
    first, last = log(float(s.min())) - BELOW, log(float(s.max())) + ABOVE
    nodes = torch.arange(first, last + STEP, STEP, dtype=torch.float64).exp()
    weights = nodes * (STEP / pi)
    # Beyond either end the integrand is a pure exponential of log t: the rest of its sum.
    weights[[0, -1]] /= -torch.expm1(torch.tensor(-STEP))
    return nodes, weights


@dataclass(frozen=True)
class PlainFold:
    """What all samples together give: covariance, mean less that of the other side, sum of roots.

    ``root`` [d, rank] is of the other side's covariance.
    """

    n: int
    cov: Tensor
    shift: Tensor
    roots: Tensor
    root: Tensor


@dataclass(frozen=True)
class Change:
    """Change of the distance [K] as each sample leaves its stratum, and its mean over all n."""

    each: Tensor
    mean: Tensor
    n: int

    @property
    def bias(self) -> Tensor:
        """The stratum's share of the distance's bias."""
        return (self.n - 1) * self.mean


def variance(changes: list[Change], others: list[Change] | None = None) -> float:
    """Jackknife variance of a distance, or of its difference from another with paired samples."""
    each = [change.each for change in changes]
    if others is not None:
        each = [a - b.each for a, b in zip(each, others, strict=True)]
    parts = zip(changes, each, strict=True)
    return float(sum((change.n - 1) ** 2 / change.n * x.var() for change, x in parts))


def leave_one_out(plain: PlainFold, stratum: Stratum) -> Change:
    """The formulas above, for one stratum."""
    n, root, b = plain.n, plain.root, stratum.offset
    e = stratum.n / (n * (stratum.n - 1))
    grow, a, back = (n - 1) / (n - 2), e + e**2, e / (1 + e)
    base = plain.cov * ((n - 1) / n) + e * stratum.moment - e * back * torch.outer(b, b)
    values, vectors = torch.linalg.eigh(congruent(base, root))
    kept = above_rounding(values)
    values, basis = values[kept], root @ vectors[:, kept]
    nodes, weights = quadrature(values)
    resolvent = 1 / (values[:, None] + nodes**2)
    # What is left of the base is no less than 0, so a q(t) <= L / (L + t^2) but for rounding.
    most = values[-1:].sum() * resolvent[-1:].sum(0)
    # Over all n samples the means are known; only what is not linear in q is averaged over K.
    second = stratum.moment - (2 * back - back**2) * torch.outer(b, b)
    q_mean = ((basis.T @ second) * basis.T).sum(1) @ resolvent
    slope = a / (1 - a * q_mean)

    def change(squared_v: Tensor, step: Tensor, logged: Tensor) -> Tensor:
        trace = grow * (base.trace() - a * squared_v) - plain.cov.trace()
        return step + trace - 2 * (grow**0.5 * (values.sqrt().sum() + logged) - plain.roots)

    each, logs_sum = [], torch.zeros_like(nodes)
    for some in stratum.rows.split(ROWS):
        c = some - stratum.mean
        v, moved = c - back * b, c - b
        q = (v @ basis).square() @ resolvent
        logs = torch.log1p(-torch.minimum(a * q, most))
        logs_sum += (logs + (q - q_mean) * slope).sum(0)
        steps = e**2 * moved.square().sum(1) - 2 * e * (moved @ plain.shift)
        each.append(change(v.square().sum(1), steps, logs @ weights))
    step_mean = e**2 * (stratum.moment.trace() - b.square().sum())
    mean = change(second.trace(), step_mean, logs_sum / len(stratum.rows) @ weights)
    return Change(torch.cat(each), mean, stratum.n)


@dataclass(frozen=True)
class GaussianReference:
    """The same for a reference x_0 = mu_0 + R z of which nothing but its statistics is known.

    Its change is ``linear`` . z + z^T ``quadratic`` z to first order around the mean of q.
    """

    n: int
    bias: Tensor
    linear: Tensor
    quadratic: Tensor

    def variance(self, other: GaussianReference | None = None) -> float:
        """Jackknife variance of a distance, or of the difference of two to the same reference."""
        linear, quadratic = self.linear, self.quadratic
        if other is not None:
            linear, quadratic = linear - other.linear, quadratic - other.quadratic
        spread = linear.square().sum() + 2 * quadratic.square().sum()
        return float((self.n - 1) ** 2 / self.n * spread)


def gaussian_reference(
    reference: Reference, shift: Tensor, values: Tensor, vectors: Tensor
) -> GaussianReference:
    """From the eigenvalues L [r] and eigenvectors U [rank, r] of R^T S R, R the reference's root.

    y = sqrt(L) U^T z. Among n_0 whitened samples E[u_i^2 u_j^2] is (n_0 - 1)/(n_0 + 1) times
    its value 1 + 2 delta_ij of free ones, and E[u_i^2] = 1 in weights 1 / (n_0 - 1).
    """
    n, root = reference.n, reference.root
    grow, a, of_all = (n - 1) / (n - 2), n / (n - 1) ** 2, (n - 1) / n
    nodes, weights = quadrature(values)
    share = values[:, None] / (values[:, None] + nodes**2)
    total, squares = share.sum(0), share.square().sum(0)
    taken = a * of_all * total
    room = 1 - taken
    spread = of_all**2 * 2 * ((n - 1) * squares - total.square()) / (n + 1)
    logs = torch.log1p(-taken) - 0.5 * (a / room).square() * spread
    roots = values.sqrt().sum()
    trace = reference.cov.trace()
    # Differences of order 1 / n cancel to 1 / n^2, so neither may carry a rounding of order 1.
    more = expm1(0.5 * log1p(1 / (n - 2)))
    change = trace / n / (n - 1) - 2 * (more * roots + grow**0.5 * (logs @ weights))
    slope = 2 * grow**0.5 * a * (share / room) @ weights
    straight = 1 / (n - 1) ** 2 - n / ((n - 1) * (n - 2))
    return GaussianReference(
        n,
        (n - 1) * change,
        root.T @ shift * (2 / (n - 1)),
        straight * root.T @ root + (vectors * slope) @ vectors.T,
    )
