"""Eigenvalues of a data set's covariance: what the exact test bed and searched grids stand on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sde_diffusion.system.sealed import Facts, SealedKind, Tensors, first_checksum


def _first_spectrum(metadata: Mapping[str, str], tensors: Tensors) -> Facts:
    if metadata["format"] != "1":
        raise ValueError(f"format {metadata['format']}")
    return dict(metadata)


SPECTRUM = SealedKind("spectrum", 2, "make one with 'sde-diffusion analyse'", _first_spectrum)


@dataclass(frozen=True, repr=False)
class DataSpectrum:
    """The modes of a data set in [-1, 1].

    Attributes:
        variance: [d] float64, of each mode. mean: [d], of each mode.
        name, kind: of the data, and how its modes were found (``pca``, ``dct``).
    """

    variance: Tensor
    mean: Tensor
    name: str
    kind: str

    def identity(self) -> dict[str, str]:
        """Its modes by content."""
        tensors = {"mean": self.mean, "variance": self.variance}
        return {"spectrum": first_checksum(tensors)[:16]}

    def __repr__(self) -> str:
        return f"DataSpectrum({self.name}: {len(self.variance)} modes, {self.kind})"

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        tensors = {"variance": self.variance, "mean": self.mean}
        SPECTRUM.write(path, tensors, {"name": self.name, "kind": self.kind})

    @classmethod
    def load(cls, path: Path, key: str) -> DataSpectrum:
        """Read one that ``save`` wrote; InputError names ``key``."""
        return SPECTRUM.read(path, key, cls.parse)

    @classmethod
    def parse(cls, facts: Facts, tensors: Tensors) -> DataSpectrum:
        """The spectrum in a file's content; ValueError if there is none in it."""
        variance, mean = tensors["variance"].double(), tensors["mean"].double()
        if variance.ndim != 1 or mean.shape != variance.shape or not len(variance):
            raise ValueError("variance and mean are not of the same modes")
        if not bool((variance >= 0).all() & variance.isfinite().all() & mean.isfinite().all()):
            raise ValueError("variances that are no finite numbers >= 0")
        return cls(variance, mean, str(facts["name"]), str(facts["kind"]))


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
