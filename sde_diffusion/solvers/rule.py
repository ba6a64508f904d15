"""A calibrated rule: where a network is asked, and how its answers are added up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sde_diffusion.condition import Condition
from sde_diffusion.denoiser import Denoiser
from sde_diffusion.solvers.bands import Bands
from sde_diffusion.solvers.base import linear


@dataclass(frozen=True)
class Start:
    """The flow of a Gaussian, exact and free of evaluations: from noise to where a network pays.

    y_k(s) - m_k = (y_k(t) - m_k) sqrt((L_k + s^2) / (L_k + t^2)) in the modes k of the data. Far
    above the scale of the data a flow does not see more of them than mean and covariance.

    Attributes:
        mean: [d]. modes: V [K, d], orthonormal rows. variances: L [K].
        rest: the variance of every direction that the modes leave.
    """

    mean: Tensor
    modes: Tensor
    variances: Tensor
    rest: float

    @classmethod
    def of(cls, images: Tensor, most: int) -> Start:
        """From images [N, *shape]: at most ``most`` leading modes, and no d x d matrix."""
        x = images.flatten(1).double()
        mean = x.mean(0)
        _, s, v = torch.linalg.svd(x - mean, full_matrices=False)
        variances = s.square() / (len(x) - 1)
        k = min(most, len(x) // 2)
        left = float(variances[k:].sum()) / max(1, x.shape[1] - k)
        return cls(mean, v[:k], variances[:k], left)

    def __call__(self, y: Tensor, t: float, s: float) -> Tensor:
        """y [N, *shape] at noise level t -> at s."""
        mean, modes, variances = (v.to(y) for v in (self.mean, self.modes, self.variances))
        z = y.flatten(1) - mean
        rest = ((self.rest + s**2) / (self.rest + t**2)) ** 0.5
        found = mean + rest * z
        if len(variances):
            gains = ((variances + s**2) / (variances + t**2)).sqrt()
            found = found + (z @ modes.T * (gains - rest)) @ modes
        return found.reshape(y.shape)

    @property
    def scale(self) -> float:
        """The largest standard deviation of a mode."""
        return float(self.variances[0].sqrt())


@dataclass(frozen=True)
class Rule:
    """n evaluations: y_0 by the start, then

        e_j = (y_j - D(y_j, r_j)) / r_j,  y_{i+1} = y_i + sum_{j <= i} W_ij e_j.

    Attributes:
        levels: [n + 1], decreasing: the noise level at which y_0 starts, and those that the later
            states stand for.
        asked: r [n], noise levels at which the network is asked.
        weights: W [n, n], lower triangular.
        last: [B, n], the last row of W for each of B bands; None if one row serves all.
    """

    levels: Tensor
    asked: Tensor
    weights: Tensor
    last: Tensor | None = None

    @property
    def n(self) -> int:
        return len(self.asked)

    def advance(
        self, i: int, y: Tensor, residuals: Sequence[Tensor], bands: Bands | None
    ) -> Tensor:
        """y_i -> y_{i+1}, from e_0 .. e_i."""
        if i < self.n - 1 or self.last is None or bands is None:
            return linear((1.0, y), *zip(self.weights[i, : i + 1].tolist(), residuals, strict=True))
        rows = self.last.tolist()
        for part, e in enumerate(residuals):
            y = linear((1.0, y), *((rows[b][part], x) for b, x in enumerate(bands.split(e))))
        return y


def residual(denoiser: Denoiser, y: Tensor, asked: float, cond: Condition | None) -> Tensor:
    """e = (y - D(y, r)) / r; one evaluation a row."""
    level = torch.tensor(asked, dtype=torch.float64)
    return (y - denoiser(y, level, cond)) / asked
