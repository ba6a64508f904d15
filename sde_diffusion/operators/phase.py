"""Phase retrieval: the sizes of a Fourier transform are measured, its phases are lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.operators.base import Aside, Map, Operator, checked_noise, picture


@final
class PhaseMap(Map):
    """|F pad(x)|, F orthonormal, zeros about the picture."""

    def __init__(self, shape: Sequence[int], pad: tuple[int, int]) -> None:
        channels, height, width = shape
        super().__init__(shape, (channels, height + 2 * pad[0], width + 2 * pad[1]))
        self.pad = pad

    def forward(self, x: Tensor) -> Tensor:
        down, across = self.pad
        padded = torch.nn.functional.pad(x, (across, across, down, down))
        spectrum = torch.fft.fft2(padded, norm="ortho")
        # |z| has no derivative at 0: the least number that float32 has in squares.
        return (spectrum.real.square() + spectrum.imag.square() + 1e-20).sqrt()


class PhaseRetrieval(Operator):
    """Sizes of the Fourier transform of the picture with zeros about it; not linear.

    x, -x, and x turned by 180 degrees measure the same: the posterior has several modes.

    Args:
        oversampling: sides of what is transformed over those of the picture, >= 1.
        noise: standard deviation of each size.
    """

    def __init__(self, oversampling: float = 2.0, noise: float = 0.05) -> None:
        if not 1 <= oversampling <= 16:
            raise InputError(f"operator.oversampling={oversampling}: give 1 .. 16")
        self.oversampling, self.noise = oversampling, checked_noise(noise)

    def make(self, shape: Sequence[int], aside: Aside) -> Map:
        _, height, width = picture(shape, "phase_retrieval")
        down, across = (round((self.oversampling - 1) * n / 2) for n in (height, width))
        return PhaseMap(shape, (down, across))
