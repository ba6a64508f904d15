"""The normal law of the data, class by class: a flow and a denoiser that ask no network."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from sde_diffusion.conditions.condition import LABEL, Condition
from sde_diffusion.errors import InputError


@dataclass(frozen=True)
class Normal:
    """Images of condition c as N(m_c, S), S = V^T diag(L) V + rest (1 - V^T V) for all c.

    Far above the scale of the data, a probability flow does not see more of them than that.

    Attributes:
        mean: [d], where no class is known. modes: V [K, d], orthonormal rows. variances: L [K].
        rest: the variance of every direction that the modes leave.
        labels: [C] int64, the classes whose means are known; empty if none is. means: m [C, d].
    """

    mean: Tensor
    modes: Tensor
    variances: Tensor
    rest: float
    labels: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    means: Tensor = field(default_factory=lambda: torch.empty(0, 0))

    @classmethod
    def of(cls, images: Tensor, most: int, centres: Tensor | None = None) -> Normal:
        """From images [N, *shape]: at most ``most`` leading modes, and no d x d matrix.

        The covariance is about ``centres`` [N, d], or about the images' own mean.
        """
        x = images.flatten(1).double()
        mean = x.mean(0)
        about, freedom = (mean, len(x) - 1) if centres is None else (centres.double(), len(x))
        _, s, v = torch.linalg.svd(x - about, full_matrices=False)
        variances = s.square() / freedom
        k = min(most, len(x) // 2)
        left = float(variances[k:].sum()) / max(1, x.shape[1] - k)
        return cls(mean, v[:k], variances[:k], left)

    @property
    def scale(self) -> float:
        """The largest standard deviation of a mode."""
        return float(self.variances[0].sqrt())

    def centre(self, y: Tensor, cond: Condition | None) -> Tensor:
        """m of each row of y, [N, d] or [d]; InputError for a class without a mean."""
        if not len(self.labels) or cond is None:
            return self.mean.to(y)
        label = cond.parts[LABEL]
        found = label.value[:, None] == self.labels.to(label.keep.device)
        unknown = label.keep & ~found.any(1)
        if unknown.any():
            raise InputError(
                f"label={int(label.value[unknown][0])}: the calibration knows the labels "
                f"{self.labels.tolist()[:20]}; take one of them, or calibrate for yours"
            )
        own = self.means.to(y)[found.int().argmax(1)]
        return torch.where(label.keep[:, None], own, self.mean.to(y))

    def flow(self, y: Tensor, t: float, s: float, cond: Condition | None) -> Tensor:
        """y [N, *shape] at noise level t -> at s: z_k(s) = z_k(t) sqrt((L_k + s^2)/(L_k + t^2))."""
        rest = ((self.rest + s**2) / (self.rest + t**2)) ** 0.5
        gains = ((self.variances + s**2) / (self.variances + t**2)).sqrt()
        centre = self.centre(y, cond)
        return (centre + self._scaled(y.flatten(1) - centre, gains, rest)).reshape(y.shape)

    def residual(self, y: Tensor, level: float, cond: Condition | None) -> Tensor:
        """g = (y - D(y)) / level of its own denoiser: z_k level / (L_k + level^2)."""
        z = y.flatten(1) - self.centre(y, cond)
        gains = level / (self.variances + level**2)
        return self._scaled(z, gains, level / (self.rest + level**2)).reshape(y.shape)

    def _scaled(self, z: Tensor, gains: Tensor, rest: float) -> Tensor:
        """z [N, d], each mode times its gain."""
        if not len(gains):
            return rest * z
        modes = self.modes.to(z)
        return rest * z + (z @ modes.T * (gains - rest).to(z)) @ modes
