"""Undersampled magnetic resonance: some lines of the Fourier transform are measured."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.operators.base import Aside, LinearMap, Map, Operator, checked_noise, picture
from sde_diffusion.operators.blur import hartley
from sde_diffusion.operators.spectrum import Spectrum


@final
class FourierMap(LinearMap):
    """A x = m F x as pairs (real, imaginary), F orthonormal: s = m, V the Hartley transform.

    m(k) = m(-k): a real picture has the same at both, seen twice with noises of their own.

    Args:
        shape: (C, H, W). mask: m [H, W], 0 or 1, frequency 0 at [0, 0].
    """

    def __init__(self, shape: Sequence[int], mask: Tensor) -> None:
        super().__init__(shape, (*shape, 2), mask[..., None].expand(*shape, 2))
        self.mask = mask

    def forward(self, x: Tensor) -> Tensor:
        seen = torch.fft.fft2(x, norm="ortho") * self.mask.to(x)
        return torch.view_as_real(seen)

    def adjoint(self, y: Tensor) -> Tensor:
        seen = torch.view_as_complex(y.contiguous()) * self.mask.to(y)
        return torch.fft.ifft2(seen, norm="ortho").real

    def spectrum(self) -> Spectrum:
        values = self.mask.expand(*self.shape)
        return Spectrum(values, hartley, hartley, lambda y: hartley(self.adjoint(y)))


class FourierMask(Operator):
    """Some frequencies of a picture are measured, those of ``mask``."""

    @abstractmethod
    def mask(self, height: int, width: int) -> Tensor:
        """0 or 1 [H, W], frequency 0 in the middle, at [H // 2, W // 2]."""

    @final
    def make(self, shape: Sequence[int], aside: Aside) -> Map:
        _, height, width = picture(shape, "a Fourier mask")
        mask = torch.fft.ifftshift(self.mask(height, width))
        # k and -k together.
        mask = torch.maximum(mask, mask.flip(0, 1).roll((1, 1), (0, 1)))
        return FourierMap(shape, mask)


class Cartesian(FourierMask):
    """Whole columns of the Fourier transform: a band about 0 and random ones beside it.

    Args:
        acceleration: columns of the picture over columns measured, > 1.
        centre: share of the columns in the band about 0.
        seed: of the others. noise: standard deviation of real and imaginary parts.
    """

    def __init__(
        self, acceleration: float = 4.0, centre: float = 0.08, seed: int = 0, noise: float = 0.05
    ) -> None:
        if not acceleration > 1 or not 0 < centre <= 1 / acceleration:
            raise InputError(
                f"operator.acceleration={acceleration}, centre={centre}: give acceleration > 1 "
                "and 0 < centre <= 1 / acceleration"
            )
        if not 0 <= seed < 2**63:
            raise InputError(f"operator.seed={seed}: give a whole number >= 0")
        self.acceleration, self.centre, self.seed = acceleration, centre, seed
        self.noise = checked_noise(noise)

    def mask(self, height: int, width: int) -> Tensor:
        distance = (torch.arange(width) - width // 2).abs()
        band = max(0, round((self.centre * width - 1) / 2))
        draw = torch.rand(
            width // 2 + 1, generator=torch.Generator().manual_seed(self.seed), dtype=torch.float64
        )
        # The columns k and -k have one number; those in the band come first.
        rank = torch.where(torch.arange(width // 2 + 1) <= band, -1.0, draw)
        columns = torch.zeros(width, dtype=torch.float64)
        for k in rank.argsort(stable=True).tolist():
            if columns.sum() >= width / self.acceleration - 0.5:
                break
            columns[distance == k] = 1
        return columns.expand(height, width)


class Radial(FourierMask):
    """Spokes through 0 of the Fourier transform, at even angles.

    Args:
        spokes: how many. noise: standard deviation of real and imaginary parts.
    """

    def __init__(self, spokes: int = 16, noise: float = 0.05) -> None:
        if not 1 <= spokes <= 10_000:
            raise InputError(f"operator.spokes={spokes}: give a whole number, 1 .. 10000")
        self.spokes, self.noise = spokes, checked_noise(noise)

    def mask(self, height: int, width: int) -> Tensor:
        mask = torch.zeros(height, width, dtype=torch.float64)
        along = torch.linspace(-0.5, 0.5, 4 * max(height, width) + 1, dtype=torch.float64)
        for j in range(self.spokes):
            angle = math.pi * j / self.spokes
            rows = (along * math.sin(angle) * height).round().long() + height // 2
            columns = (along * math.cos(angle) * width).round().long() + width // 2
            inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
            mask[rows[inside], columns[inside]] = 1
        return mask
