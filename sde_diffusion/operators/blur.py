"""Deblurring: a picture is seen through a kernel, whose edges wrap around."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, final

import torch
from torch import Tensor

from sde_diffusion.operators.base import Aside, LinearMap, Map, Operator, checked_noise, picture
from sde_diffusion.operators.spectrum import Spectrum, cut
from sde_diffusion.system.ranges import Within


def hartley(x: Tensor) -> Tensor:
    """Re - Im of the orthonormal Fourier transform of the last two sides: its own inverse and
    transpose, in which every convolution with a symmetric kernel is diagonal."""
    transformed = torch.fft.fft2(x, norm="ortho")
    return transformed.real - transformed.imag


@final
class ConvolutionMap(LinearMap):
    """A x = k * x, circular, of each channel: s = |F k|, V the Hartley transform.

    Args:
        shape: (C, H, W). kernel: k [H, W], its origin at [0, 0], float64.
    """

    def __init__(self, shape: Sequence[int], kernel: Tensor) -> None:
        super().__init__(shape, shape)
        self.transfer = torch.fft.fft2(kernel)

    def forward(self, x: Tensor) -> Tensor:
        return self._filtered(x, self.transfer)

    def adjoint(self, y: Tensor) -> Tensor:
        return self._filtered(y, self.transfer.conj())

    def spectrum(self) -> Spectrum:
        values = cut(self.transfer.abs())
        inverse = torch.where(values > 0, 1 / values.clamp_min(1e-30), 0)
        return Spectrum(
            values.expand(*self.shape),
            hartley,
            hartley,
            lambda y: inverse.to(y) * hartley(self.adjoint(y)),
        )

    @staticmethod
    def _filtered(x: Tensor, transfer: Tensor) -> Tensor:
        spectrum = torch.fft.fft2(x)
        return torch.fft.ifft2(spectrum * transfer.to(x.device, spectrum.dtype)).real


class GaussianBlur(Operator):
    """A Gaussian kernel, edges wrapped around.

    Args:
        width: its standard deviation in pixels. noise: standard deviation of each pixel seen.
    """

    def __init__(
        self, width: Annotated[float, Within("0 < width <= 10000")] = 1.5, noise: float = 0.05
    ) -> None:
        self.width, self.noise = width, checked_noise(noise)

    def make(self, shape: Sequence[int], aside: Aside) -> Map:
        _, height, width = picture(shape, "gaussian_blur")
        down, across = (self._wrapped(n) for n in (height, width))
        return ConvolutionMap(shape, down[:, None] * across)

    def _wrapped(self, n: int) -> Tensor:
        """The kernel on a circle of n pixels, of sum one."""
        turns = math.ceil(6 * self.width / n)
        at = torch.arange(n) + n * torch.arange(-turns, turns + 1, dtype=torch.float64)[:, None]
        kernel = (-0.5 * (at / self.width).square()).exp().sum(0)
        return kernel / kernel.sum()


class MotionBlur(Operator):
    """A straight move of the camera while the shutter is open, edges wrapped around.

    Args:
        length: of the move in pixels. angle: in degrees, 0 along a row.
        noise: standard deviation of each pixel seen.
    """

    def __init__(
        self,
        length: Annotated[float, Within("0 < length <= 10000")] = 7.0,
        angle: Annotated[float, Within("-3600 <= angle <= 3600")] = 30.0,
        noise: float = 0.05,
    ) -> None:
        self.length, self.angle, self.noise = length, angle, checked_noise(noise)

    def make(self, shape: Sequence[int], aside: Aside) -> Map:
        _, height, width = picture(shape, "motion_blur")
        n = 16 * math.ceil(self.length)
        along = ((torch.arange(n, dtype=torch.float64) + 0.5) / n - 0.5) * self.length
        angle = math.radians(self.angle)
        kernel = torch.zeros(height, width, dtype=torch.float64)
        for rows, columns, weight in bilinear(-along * math.sin(angle), along * math.cos(angle)):
            kernel.index_put_((rows % height, columns % width), weight / n, accumulate=True)
        return ConvolutionMap(shape, kernel)


def bilinear(rows: Tensor, columns: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Four pixels (row, column) and their weights for each point, one entry a corner.

    Args:
        rows, columns: of the points, in pixels, float64 [n].
    """
    top, left = rows.floor(), columns.floor()
    down, right = rows - top, columns - left
    corners = []
    for i, vertical in ((0, 1 - down), (1, down)):
        for j, across in ((0, 1 - right), (1, right)):
            corners.append(((top + i).long(), (left + j).long(), vertical * across))
    return corners
