"""Eigenvalues of a data set's covariance: what the exact test bed and searched grids stand on."""

from __future__ import annotations

import torch
from torch import Tensor


def natural_image_variances(side: int = 8) -> Tensor:
    """Eigenvalues [3 side^2] of a Gaussian like small colour pictures, of mean variance 0.25.

    Power 1 / |f|^2 on the integer frequency grid (|f|^2 = 0.5 at zero), three decorrelated
    channels with variance ratio 1 : .15 : .05.
    """
    f = torch.fft.fftfreq(side, 1 / side, dtype=torch.float64)
    f2 = f[:, None] ** 2 + f**2
    power = 1 / torch.where(f2 == 0, 0.5, f2)
    channels = torch.tensor([1.0, 0.15, 0.05], dtype=torch.float64)
    variance = (channels[:, None] * power.flatten()).flatten()
    return variance * (0.25 / variance.mean())
