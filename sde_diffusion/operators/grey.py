"""Colourisation: a colour picture is seen in grey."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.operators.base import Aside, LinearMap, Map, Operator, checked_noise, picture
from sde_diffusion.operators.spectrum import Spectrum

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@final
class GreyMap(LinearMap):
    """A x = sum_c w_c x_c: one singular value, |w|.

    Args:
        shape: (3, H, W). weights: w [3], float64.
    """

    def __init__(self, shape: Sequence[int], weights: Tensor) -> None:
        super().__init__(shape, (1, *shape[1:]))
        self.weights = weights.reshape(-1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return (self.weights.to(x) * x).sum(1, keepdim=True)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.weights.to(y) * y

    def spectrum(self) -> Spectrum:
        s = self.weights.square().sum().sqrt()
        return Spectrum(
            s.expand(self.out),
            lambda x: self.forward(x) / s.to(x),
            lambda z: self.adjoint(z) / s.to(z),
            lambda y: y,
        )


class Grey(Operator):
    """Colourisation: 0.299 red + 0.587 green + 0.114 blue is seen.

    Args:
        noise: standard deviation of each pixel seen.
    """

    def __init__(self, noise: float = 0.05) -> None:
        self.noise = checked_noise(noise)

    def seen(self, channels: int) -> int:
        return 1

    def make(self, shape: Sequence[int], aside: Aside) -> Map:
        if picture(shape, "grey")[0] != 3:
            raise InputError(
                f"operator=grey: needs pictures of 3 channels, not {shape[0]}; give another one"
            )
        return GreyMap(shape, torch.tensor(LUMA, dtype=torch.float64))
