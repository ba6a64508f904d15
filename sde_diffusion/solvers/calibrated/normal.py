"""The normal law of the data, class by class: a flow and a denoiser that ask no network."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from sde_diffusion.conditions.condition import LABEL, Condition
from sde_diffusion.errors import InputError
from sde_diffusion.system.devices import widest


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

    def check(self, cond: Condition | None) -> None:
        """InputError for a class without a mean."""
        label = None if cond is None else cond.parts.get(LABEL)
        if label is None or not len(self.labels):
            return
        asked = label.value[label.keep].cpu()
        unknown = asked[(asked[:, None] != self.labels).all(1)]
        if len(unknown):
            raise InputError(
                f"label={int(unknown[0])}: the calibration knows the labels "
                f"{self.labels.tolist()[:20]}; take one of them, or calibrate for yours"
            )

    def rows(self, y: Tensor, cond: Condition | None) -> NormalRows:
        """The law of each row of y, on its device and in its dtype: made once for a batch.

        A class without a mean, which ``check`` refuses, has a centre that is not a number.
        """
        centre = self.mean.to(y)
        label = None if cond is None else cond.parts.get(LABEL)
        if label is not None and len(self.labels):
            is_class = label.value[:, None] == self.labels.to(y.device)
            of_class = self.means.to(y)[is_class.int().argmax(1)]
            of_class = torch.where(is_class.any(1, keepdim=True), of_class, torch.nan)
            centre = torch.where(label.keep[:, None], of_class, centre)
        variances = self.variances.to(y.device, widest(y.device))
        return NormalRows(self, centre, self.modes.to(y), variances)


@dataclass(frozen=True)
class NormalRows:
    """N(m, S) for each row of a batch.

    Attributes:
        law: what they are rows of. centre: m, [N, d], or [d] for all. modes: V [K, d].
        variances: L [K].
    """

    law: Normal
    centre: Tensor
    modes: Tensor
    variances: Tensor

    def __getitem__(self, rows: slice) -> NormalRows:
        return self if self.centre.ndim == 1 else replace(self, centre=self.centre[rows])

    def flow(self, y: Tensor, t: float, s: float) -> Tensor:
        """y [N, *shape] at noise level t -> at s: z_k(s) = z_k(t) sqrt((L_k + s^2)/(L_k + t^2))."""
        rest = ((self.law.rest + s**2) / (self.law.rest + t**2)) ** 0.5
        gains = ((self.variances + s**2) / (self.variances + t**2)).sqrt()
        z = y.flatten(1) - self.centre
        return (self.centre + self._scaled(z, gains, rest)).reshape(y.shape)

    def residual(self, y: Tensor, level: float) -> Tensor:
        """g = (y - D(y)) / level of its own denoiser: z_k level / (L_k + level^2)."""
        z = y.flatten(1) - self.centre
        gains = level / (self.variances + level**2)
        return self._scaled(z, gains, level / (self.law.rest + level**2)).reshape(y.shape)

    def _scaled(self, z: Tensor, gains: Tensor, rest: float) -> Tensor:
        """z [N, d], each mode times its gain."""
        if not len(gains):
            return rest * z
        return rest * z + (z @ self.modes.T * (gains - rest).to(z)) @ self.modes
