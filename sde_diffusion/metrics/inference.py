"""Bias and confidence interval of a Frechet distance, by the delta method.

With M = R^T S R = U L U^T, s = sqrt(L) and y = U^T R^T (x - mu), the influence of a sample is

    IF(x) = 2 (mu - mu_0).(x - mu) + |x - mu|^2 - sum_i y_i^2 / s_i   (up to its mean),

the standard error sd(IF) / sqrt(N), and the plug-in value is too large by B / N with

    B = tr S + 1/2 sum_ij (E[y_i^2 y_j^2] - delta_ij L_i^2) / (s_i s_j (s_i + s_j)).

A reference of n_0 images adds its own bias and variance; without its features they are taken in
the Gaussian closed form, E[y_i^2 y_j^2] = L_i L_j (1 + 2 delta_ij).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sde_diffusion.metrics.frechet import Reference

Z95 = 1.959963984540054
MIN_RATIO = 5


@dataclass(frozen=True)
class Inference:
    """A bias-removed value with its 95 % interval; all None, with the reason, where not valid."""

    value: float | None
    standard_error: float | None
    note: str

    @property
    def low(self) -> float | None:
        """Lower end of the 95 % interval."""
        return self._end(-Z95)

    @property
    def high(self) -> float | None:
        """Upper end of the 95 % interval."""
        return self._end(Z95)

    def _end(self, z: float) -> float | None:
        if self.value is None or self.standard_error is None:
            return None
        return self.value + z * self.standard_error


@dataclass(frozen=True)
class _Expansion:
    """Plug-in distance, its bias, the influence of each sample [N], the reference's variance."""

    value: float
    bias: float
    influence: Tensor
    reference_variance: float


def _expand(features: Tensor, reference: Reference) -> _Expansion:
    x = features.to(torch.float64)
    n = len(x)
    mean = x.mean(0)
    centred = x - mean
    projected = centred @ reference.root
    values, vectors = torch.linalg.eigh(projected.T @ projected / (n - 1))
    # Dead features would give 0 / 0: sums run over the numerical rank.
    kept = values > values.max() * len(values) * torch.finfo(torch.float64).eps
    eigen, basis = values[kept], vectors[:, kept]
    s = eigen.sqrt()
    y2 = (projected @ basis).square()
    shift = mean - reference.mean
    trace, trace_0 = centred.square().sum() / (n - 1), reference.cov.trace()
    influence = 2 * centred @ shift + centred.square().sum(1) - y2 @ (1 / s)
    pair = 1 / (s[:, None] * s * (s[:, None] + s))
    fourth = y2.T @ y2 / n - torch.diag(eigen**2)
    bias = trace + 0.5 * (fourth * pair).sum()
    bias_0 = trace_0 + 0.5 * (s[:, None] * s / (s[:, None] + s)).sum() + 0.25 * s.sum()
    # Var(IF_0) = 4 shift^T S_0 shift + 2 |R^T R - U s U^T|^2 for a Gaussian reference.
    quadratic = reference.root.T @ reference.root - (basis * s) @ basis.T
    variance_0 = 4 * shift @ reference.cov @ shift + 2 * quadratic.square().sum()
    value = shift.square().sum() + trace + trace_0 - 2 * s.sum()
    return _Expansion(
        float(value), float(bias / n + bias_0 / reference.n), influence,
        float(variance_0 / reference.n),
    )  # fmt: skip


def _withheld(n: int, d: int) -> Inference | None:
    if n >= MIN_RATIO * d:
        return None
    return Inference(None, None, f"interval withheld: N = {n} < {MIN_RATIO} d = {MIN_RATIO * d}")


def debiased(features: Tensor, reference: Reference) -> Inference:
    """Bias-removed Frechet distance of features [N, d], valid from N = 5 d."""
    n, d = features.shape
    withheld = _withheld(n, d)
    if withheld is not None:
        return withheld
    found = _expand(features, reference)
    error = (float(found.influence.var()) / n + found.reference_variance) ** 0.5
    return Inference(found.value - found.bias, error, "reference side in the Gaussian closed form")


def paired_difference(a: Tensor, b: Tensor, reference: Reference) -> Inference:
    """Distance of a minus that of b [N, d], sample k of both from the same initial noise."""
    n, d = a.shape
    withheld = _withheld(n, d)
    if withheld is not None:
        return withheld
    of_a, of_b = _expand(a, reference), _expand(b, reference)
    error = (float((of_a.influence - of_b.influence).var()) / n) ** 0.5
    value = (of_a.value - of_a.bias) - (of_b.value - of_b.bias)
    return Inference(value, error, "paired by initial noise")
