"""Gaussians with any covariance: the data of the exact test bed, and the laws that solvers make."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.process.sde import SDE


@dataclass(frozen=True)
class Gaussian:
    """N(mean, U diag(variance) U^T), float64.

    Attributes:
        mean: [d], in the coordinates of the data.
        variance: [d], of the modes.
        basis: U [d, d], its columns the modes; None is the identity.
    """

    mean: Tensor
    variance: Tensor
    basis: Tensor | None = None

    @classmethod
    def of(cls, covariance: Tensor, mean: Tensor | None = None) -> Gaussian:
        """From a covariance [d, d], or from variances [d] of coordinates that are independent.

        InputError unless symmetric, finite and positive semidefinite up to rounding.
        """
        square = covariance.ndim == 2 and covariance.shape[0] == covariance.shape[1]
        if covariance.ndim != 1 and not square:
            raise InputError(f"covariance={tuple(covariance.shape)}: give a tensor [d, d] or [d]")
        wide = covariance.to(torch.float64)
        if not bool(wide.isfinite().all()):
            raise InputError("covariance: has entries that are not finite; leave them out")
        centre = torch.zeros(len(wide), dtype=torch.float64) if mean is None else mean.double()
        if centre.shape != wide.shape[:1]:
            raise InputError(f"mean={tuple(centre.shape)}: give a tensor [{len(wide)}]")
        basis = None
        if square:
            scale = wide.abs().max()
            if float((wide - wide.T).abs().max()) > 1e-6 * float(scale):
                raise InputError("covariance: not symmetric; give (C + C^T) / 2")
            wide, basis = torch.linalg.eigh(0.5 * (wide + wide.T))
        # An eigenvalue of zero comes out as a few rounding errors on either side.
        if float(wide.min()) < -1e-6 * float(wide.abs().max()):
            raise InputError(
                f"covariance: eigenvalue {float(wide.min()):.2g} is negative; give a covariance"
            )
        return cls(centre, wide.clamp_min(0), basis)

    @property
    def mode_mean(self) -> Tensor:
        """U^T mean [d]."""
        return self.mean if self.basis is None else self.basis.T @ self.mean

    @property
    def covariance(self) -> Tensor:
        """U diag(variance) U^T [d, d]."""
        if self.basis is None:
            return self.variance.diag()
        return (self.basis * self.variance) @ self.basis.T

    def with_modes(self, mean: Tensor, variance: Tensor) -> Gaussian:
        """The Gaussian of these modes' means and variances [d], in the same basis."""
        return Gaussian(mean if self.basis is None else self.basis @ mean, variance, self.basis)

    def w2(self, other: Gaussian) -> float:
        """Wasserstein-2 distance to a Gaussian of the same modes.

        W2^2 = |m - m'|^2 + sum_k (s_k - s'_k)^2, s_k the standard deviations of the modes.
        """
        spread = (self.variance.sqrt() - other.variance.sqrt()).square().sum()
        return float(((self.mean - other.mean).square().sum() + spread).sqrt())

    def relative_w2(self, exact: Gaussian) -> float:
        """Wasserstein-2 distance to ``exact`` over the root of its total variance."""
        return self.w2(exact) / float(exact.variance.sum().sqrt())

    def at(self, sde: SDE, t: Tensor) -> Gaussian:
        """The law of x_t = alpha(t) x_0 + sigma(t) n for x_0 from this one."""
        alpha = sde.alpha(t)
        return Gaussian(alpha * self.mean, alpha**2 * self.variance + sde.sigma(t) ** 2, self.basis)


def marginal(sde: SDE, t: Tensor, covariance: Tensor, mean: Tensor | None = None) -> Gaussian:
    """The exact law of x_t for x_0 ~ N(mean, covariance), covariance [d, d] or variances [d]."""
    return Gaussian.of(covariance, mean).at(sde, t)
