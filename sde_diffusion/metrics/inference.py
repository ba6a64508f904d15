"""Bias and confidence interval of a Fréchet distance, by exact leave-one-out.

With f the plug-in value and f_(hk) that without sample k of stratum h (``jackknife`` has all of
them at once), on the side of the generated and on that of the reference images,

    value = f - sum_h (n_h - 1) mean_k(f_(hk) - f),
    standard error^2 = sum_h (n_h - 1)/n_h sum_k (f_(hk) - mean_k f_(hk))^2, over both sides.

Expanded in 1/N this is the delta method: with M = R^T S R = U L U^T, s = sqrt(L) and
y = U^T R^T (x - mu), the influence 2 (mu - mu_0).(x - mu) + |x - mu|^2 - sum_i y_i^2 / s_i gives
the variance, and the bias is B / N,

    B = tr S + 1/2 sum_ij (E[y_i^2 y_j^2] - delta_ij L_i^2) / (s_i s_j (s_i + s_j)).

With estimated s_i that expansion is short: the influence is fitted to the very samples it judges,
and E[y_i^2 y_j^2] is spread by the estimated basis, so at N = 5 d it leaves some 7 % of the bias
and its interval is too narrow. Left-out samples are judged by what the others give: 2 % of the
bias is left (at c = d / N the roots of a Wishart matrix have 1 - c/8 - c^2/64 of their true sum,
of which c^2/64 remains, in the other direction), and the variance is too large rather than too
small in expectation (Efron & Stein 1981): where S is close to S_0 it counts the second-order term,
all that is left there, twice.

Samples whose classes were set in rotation are stratified: only what varies within a class
varies at all, E[dS_ij^2] = (E[y_i^2 y_j^2] - mean_h E_h[y_i y_j]^2) / N, and E[S_hat] is
S + S_between / (N - 1). ``strata`` says so; without it the bias of classes drawn at random is
taken off, which such samples never had.

A reference without its features enters in the Gaussian closed form.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.metrics.frechet import Reference, above_rounding, check_width, congruent, root_of
from sde_diffusion.metrics.jackknife import (
    Change,
    GaussianReference,
    PlainFold,
    gaussian_reference,
    leave_one_out,
    strata_of,
    stratum_of_reference,
    variance,
)
from sde_diffusion.metrics.stats import FeatureStats, checked

Z95 = 1.959963984540054
MIN_RATIO = 5
GAUSSIAN = "reference side in the Gaussian closed form"
MEASURED = "reference side from its features"


@dataclass(frozen=True)
class Inference:
    """A bias-removed value, its standard error and 95 % interval, and how they were made.

    All are None where they would not be valid, and the note says why. ``reference_error`` is the
    part of the standard error that stays however many samples are drawn; ``samples`` is N.
    """

    value: float | None
    standard_error: float | None
    note: str
    samples: int = 0
    reference_error: float = 0.0

    @property
    def low(self) -> float | None:
        """Lower end of the 95 % interval."""
        return self._end(-Z95)

    @property
    def high(self) -> float | None:
        """Upper end of the 95 % interval."""
        return self._end(Z95)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Both ends of the 95 % interval."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    def _end(self, z: float) -> float | None:
        if self.value is None or self.standard_error is None:
            return None
        return self.value + z * self.standard_error


def samples_to_settle(difference: Inference, z: float = Z95) -> int | None:
    """N at which a difference that stays what it is would be more than z standard errors.

    The variance of the samples falls as 1 / N, that of the reference stays: None if that alone
    covers 0, or if there is no difference or no interval. N itself if it is settled already.
    """
    value, error, stays = difference.value, difference.standard_error, difference.reference_error
    if value is None or error is None:
        return None
    room = (value / z) ** 2 - stays**2
    if room <= 0:
        return None
    return max(difference.samples, ceil(difference.samples * (error**2 - stays**2) / room))


@dataclass(frozen=True)
class _Expansion:
    """Bias-removed distance, and the changes as one sample of either side is left out."""

    value: float
    changes: list[Change]
    changes_0: list[Change] | None
    gaussian: GaussianReference


def _expand(
    features: Tensor, reference: Reference, reference_features: Tensor | None, strata: Tensor | None
) -> _Expansion:
    x, root, n = checked(features), reference.root, len(features)
    stats = FeatureStats.of(x)
    cov, shift = stats.cov, stats.mean - reference.mean
    values, vectors = torch.linalg.eigh(congruent(cov, root))
    # Dead features would give 0 / 0: sums run over the numerical rank.
    kept = above_rounding(values)
    values, vectors = values[kept], vectors[:, kept]
    roots = values.sqrt().sum()
    plain = PlainFold(n, cov, shift, roots, root)
    changes = [leave_one_out(plain, part) for part in strata_of(x, strata, stats)]
    gaussian = gaussian_reference(reference, shift, values, vectors)
    if reference_features is None:
        changes_0, bias_0 = None, gaussian.bias
    else:
        side_0 = PlainFold(reference.n, reference.cov, -shift, roots, root_of(cov))
        parts_0 = stratum_of_reference(reference_features.to(torch.float64), reference)
        changes_0 = [leave_one_out(side_0, part) for part in parts_0]
        bias_0 = torch.stack([change.bias for change in changes_0]).sum()
    bias = torch.stack([change.bias for change in changes]).sum() + bias_0
    value = shift.square().sum() + cov.trace() + reference.cov.trace() - 2 * roots - bias
    return _Expansion(float(value), changes, changes_0, gaussian)


def _withheld(x: Tensor, reference: Reference, strata: Tensor | None) -> Inference | None:
    n, least = len(x), MIN_RATIO * x.shape[1]
    why = ""
    if n < least:
        why = f"N = {n} < {MIN_RATIO} d = {least}"
    elif reference.n == 0:
        why = "the reference does not say of how many images it is"
    elif reference.n < least:
        why = f"reference of {reference.n} < {MIN_RATIO} d = {least}"
    elif strata is not None and int(strata.unique(return_counts=True)[1].min()) < 2:
        why = "a stratum has one sample"
    return Inference(None, None, f"interval withheld: {why}", n) if why else None


def _check(
    features: Tensor, reference: Reference, reference_features: Tensor | None, strata: Tensor | None
) -> None:
    check_width(checked(features).shape[1], reference)
    if strata is not None and strata.shape != (len(features),):
        raise InputError(
            f"strata: {tuple(strata.shape)} labels of {len(features)} samples; give one each"
        )
    if reference_features is None:
        return
    check_width(checked(reference_features, "reference").shape[1], reference)
    least = min(MIN_RATIO * reference_features.shape[1], reference.n)
    if not least <= len(reference_features) <= reference.n:
        raise InputError(
            f"reference: {len(reference_features)} features kept of {reference.n}; give {least} or "
            "more of those that its statistics were made of, or none"
        )


def debiased(
    features: Tensor,
    reference: Reference,
    reference_features: Tensor | None = None,
    strata: Tensor | None = None,
) -> Inference:
    """Bias-removed Fréchet distance of features [N, d], with its 95 % interval, from N = 5 d.

    Samples are taken for independent draws, none of them in the reference: of the reference's own
    the value is negative. ``reference_features`` are some, or all, of those that the reference's
    statistics were made of. ``strata`` [N] are the labels of samples whose classes were set, not
    drawn. Below 5 d, on either side, all is withheld, and the note says why.
    """
    _check(features, reference, reference_features, strata)
    withheld = _withheld(features, reference, strata)
    if withheld is not None:
        return withheld
    expansion = _expand(features, reference, reference_features, strata)
    of_samples = variance(expansion.changes)
    if expansion.changes_0 is None:
        stays, note = expansion.gaussian.variance(), GAUSSIAN
    else:
        stays, note = variance(expansion.changes_0), MEASURED
    return Inference(expansion.value, (of_samples + stays) ** 0.5, note, len(features), stays**0.5)


def paired_difference(
    a: Tensor,
    b: Tensor,
    reference: Reference,
    reference_features: Tensor | None = None,
    strata: Tensor | None = None,
) -> Inference:
    """Distance of a minus that of b, both [N, d], sample k of both from the same initial noise.

    Sample k leaves both at once, so what they share cancels in the error. InputError unless both
    have one shape.
    """
    _check(a, reference, reference_features, strata)
    if a.shape != b.shape:
        raise InputError(
            f"samples: {tuple(a.shape)} and {tuple(b.shape)} features are no pairs; "
            "give as many of both solvers, from the same seeds"
        )
    withheld = _withheld(a, reference, strata)
    if withheld is not None:
        return withheld
    of_a, of_b = (_expand(x, reference, reference_features, strata) for x in (a, b))
    of_samples = variance(of_a.changes, of_b.changes)
    if of_a.changes_0 is None or of_b.changes_0 is None:
        stays, note = of_a.gaussian.variance(of_b.gaussian), GAUSSIAN
    else:
        stays, note = variance(of_a.changes_0, of_b.changes_0), MEASURED
    note = f"paired by initial noise; {note}"
    return Inference(of_a.value - of_b.value, (of_samples + stays) ** 0.5, note, len(a), stays**0.5)
