"""Denoisers known in closed form: the truth that tests and order plots stand on."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sde_diffusion.conditions.condition import LABEL, Condition, Part
from sde_diffusion.denoisers.base import CountedDenoiser
from sde_diffusion.errors import InputError


class GaussianDenoiser(CountedDenoiser):
    """x_0 ~ N(mean, U diag(variance) U^T): D = mean + U L / (L + sigma^2) U^T (x - mean).

    Args:
        variance: eigenvalues L [d], zeros allowed.
        mean: [d], zero by default.
        basis: orthogonal U [d, d], columns the eigenvectors; identity by default.
    """

    variance: Tensor
    mean: Tensor
    basis: Tensor | None

    def __init__(
        self, variance: Tensor, mean: Tensor | None = None, basis: Tensor | None = None
    ) -> None:
        super().__init__((variance.shape[0],), 0.0, math.inf)
        self.register_buffer("variance", variance)
        self.register_buffer("mean", torch.zeros_like(variance) if mean is None else mean)
        self.register_buffer("basis", basis)

    def to_modes(self, x: Tensor) -> Tensor:
        """Centred coordinates in the eigenbasis, U^T (x - mean)."""
        z = x - self.mean
        return z if self.basis is None else z @ self.basis

    def from_modes(self, z: Tensor) -> Tensor:
        """Inverse of ``to_modes``."""
        return self.mean + (z if self.basis is None else z @ self.basis.T)

    def denoise(self, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
        return self.from_modes(self.variance / (self.variance + sigma**2) * self.to_modes(x))

    def flow(self, x: Tensor, sigma_t: Tensor, sigma_s: Tensor) -> Tensor:
        """Exact probability flow of x = x_0 + sigma n from level sigma_t to sigma_s."""
        gain = ((self.variance + sigma_s**2) / (self.variance + sigma_t**2)).sqrt()
        return self.from_modes(gain * self.to_modes(x))


class MixtureDenoiser(CountedDenoiser):
    """x_0 ~ sum_k w_k N(m_k, U_k diag(L_k) U_k^T): D = sum_k r_k(x) D_k(x), r the posterior.

    Args:
        weights: w [K], summing to one. means: [K, d]. variances: L [K, d].
        bases: U [K, d, d]; identity by default (diagonal covariances).
        labels: the class of each component, int64 [K]: the condition ``label`` leaves those of its
            own. A label that has none, which ``check_condition`` refuses, is answered by what is
            not a number. Without them, conditions are not read.
    """

    weights: Tensor
    means: Tensor
    variances: Tensor
    bases: Tensor | None
    labels: Tensor | None

    def __init__(
        self,
        weights: Tensor,
        means: Tensor,
        variances: Tensor,
        bases: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> None:
        super().__init__((means.shape[1],), 0.0, math.inf)
        self.register_buffer("weights", weights)
        self.register_buffer("means", means)
        self.register_buffer("variances", variances)
        self.register_buffer("bases", bases)
        self.register_buffer("labels", labels)

    def _modes(self, x: Tensor) -> Tensor:
        z = x[:, None] - self.means
        return z if self.bases is None else torch.einsum("nki,kij->nkj", z, self.bases)

    def _log_joint(self, z: Tensor, sigma: Tensor) -> Tensor:
        """log w_k N(x; m_k, S_k + sigma^2 I) [N, K] for centred modes z [N, K, d]."""
        total = self.variances + sigma**2
        quadratic = (z.square() / total + (2 * math.pi * total).log()).sum(-1)
        return self.weights.log() - 0.5 * quadratic

    def log_prob(self, x: Tensor, sigma: Tensor) -> Tensor:
        """log density [N] of x_0 + sigma n at x [N, d], in nats."""
        return self._log_joint(self._modes(x), sigma).logsumexp(1)

    def denoise(self, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
        sigma = sigma if sigma.ndim == 0 else sigma[..., None]
        z = self._modes(x)
        joint = self._log_joint(z, sigma)
        if self.labels is not None and cond is not None and LABEL in cond:
            joint = joint.masked_fill(_others(self.labels, cond.parts[LABEL]), -math.inf)
        posterior = joint.softmax(1)
        shrunk = self.variances / (self.variances + sigma**2) * z
        if self.bases is not None:
            shrunk = torch.einsum("nkj,kij->nki", shrunk, self.bases)
        return (posterior[..., None] * (self.means + shrunk)).sum(1)

    def check_condition(self, cond: Condition | None) -> None:
        if self.labels is None or cond is None or LABEL not in cond:
            return
        label, labels = cond.parts[LABEL].each(torch.Tensor.cpu), self.labels.cpu()
        missing = _others(labels, label).all(1)
        if bool(missing.any()):
            raise InputError(
                f"label={int(label.value[missing][0])}: the mixture has no component of that "
                f"class; take one of {labels.unique().tolist()[:20]}"
            )

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """n exact draws of x_0 [n, d]."""
        k = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        z = torch.randn(n, self.shape[0], generator=generator, dtype=self.means.dtype)
        z = self.variances[k].sqrt() * z
        if self.bases is not None:
            z = torch.einsum("nj,nij->ni", z, self.bases[k])
        return self.means[k] + z


def _others(labels: Tensor, label: Part) -> Tensor:
    """Which components, of these ``labels`` [K], each row's label leaves out [N, K]."""
    return label.keep[:, None] & (label.value[:, None] != labels)


class EmpiricalDenoiser(CountedDenoiser):
    """x_0 uniform over a finite set, each point blurred by bandwidth h.

    a = h^2 / (h^2 + sigma^2), D = (1 - a) softmax((x.x_i - |x_i|^2 / 2) / (h^2 + sigma^2)) X + a x.

    Args:
        points: X [M, *shape].
        bandwidth: h >= 0; 0 is the optimal denoiser of the set itself.
    """

    points: Tensor

    def __init__(self, points: Tensor, bandwidth: float = 0.0) -> None:
        super().__init__(tuple(points.shape[1:]), 0.0, math.inf)
        self.register_buffer("points", points.flatten(1))
        self.bandwidth = bandwidth

    def denoise(self, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
        flat = x.flatten(1).to(self.points)
        sigma = sigma if sigma.ndim == 0 else sigma.reshape(-1, 1)
        total = self.bandwidth**2 + sigma**2
        a = self.bandwidth**2 / total
        logits = (flat @ self.points.T - 0.5 * self.points.square().sum(1)) / total
        return ((1 - a) * (logits.softmax(1) @ self.points) + a * flat).reshape(x.shape)
