"""Eigenvalues of a data set's covariance: what the exact test bed and searched grids stand on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.system.storage import write_atomically

FORMAT = "1"


@dataclass(frozen=True)
class Spectrum:
    """The modes of a data set in [-1, 1].

    Attributes:
        variance: [d] float64, of each mode. mean: [d], of each mode.
        name, kind: of the data, and how its modes were found (``pca``, ``dct``).
    """

    variance: Tensor
    mean: Tensor
    name: str
    kind: str

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        facts = {"format": FORMAT, "name": self.name, "kind": self.kind}
        write_atomically(path, save({"variance": self.variance, "mean": self.mean}, facts))

    @classmethod
    def load(cls, path: Path, key: str) -> Spectrum:
        """Read one that ``save`` wrote; InputError names ``key``."""
        remedy = "make one with 'sde-diffusion analyse'"
        if not path.is_file():
            raise InputError(f"{key}={path}: no such file; {remedy}")
        try:
            with safe_open(path, framework="pt") as file:
                facts = file.metadata() or {}
                variance, mean = file.get_tensor("variance"), file.get_tensor("mean")
        except (SafetensorError, OSError) as error:
            raise InputError(f"{key}={path}: not a spectrum; {remedy}") from error
        if facts.get("format") != FORMAT or variance.ndim != 1 or mean.shape != variance.shape:
            raise InputError(f"{key}={path}: not a spectrum of format {FORMAT}; {remedy}")
        return cls(variance.double(), mean.double(), facts["name"], facts["kind"])


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
