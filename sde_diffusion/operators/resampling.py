"""Super-resolution: a picture is seen at a lower resolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.operators.base import Aside, LinearMap, Map, Operator, checked_noise, picture
from sde_diffusion.operators.spectrum import Spectrum, cut

METHODS = ("average", "bicubic")
CUBIC = -0.5  # Keys's a, as in Pillow


@final
class SeparableMap(LinearMap):
    """A x = R x C^T of each channel.

    Args:
        channels: C. rows: R [h, H]. columns: C [w, W], float64.
    """

    def __init__(self, channels: int, rows: Tensor, columns: Tensor) -> None:
        shape = channels, rows.shape[1], columns.shape[1]
        super().__init__(shape, (channels, rows.shape[0], columns.shape[0]))
        self.rows, self.columns = rows, columns

    def forward(self, x: Tensor) -> Tensor:
        return self.rows.to(x) @ x @ self.columns.to(x).T

    def adjoint(self, y: Tensor) -> Tensor:
        return self.rows.to(y).T @ y @ self.columns.to(y)

    def spectrum(self) -> Spectrum:
        if self._spectrum is None:
            (u, s, v), (p, t, q) = (_thin(matrix) for matrix in (self.rows, self.columns))
            values = cut(s[:, None] * t)
            self._spectrum = Spectrum(
                values.expand(self.shape[0], *values.shape),
                lambda x: v.to(x) @ x @ q.to(x).T,
                lambda z: v.to(z).T @ z @ q.to(z),
                lambda y: (u.to(y).T @ y @ p.to(y)) * (values > 0).to(y),
            )
        return self._spectrum


def _thin(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    return u, s, v


class Downsample(Operator):
    """Super-resolution: the picture is seen with 1 / factor of its rows and columns.

    Args:
        factor: 2, 3, 4, ...; height and width are multiples of it.
        method: ``average`` of each block, or ``bicubic`` with the filter of Pillow (edges cut).
        noise: standard deviation of each pixel seen.
    """

    def __init__(self, factor: int = 4, method: str = "average", noise: float = 0.05) -> None:
        if method not in METHODS:
            raise InputError(f"operator.method={method}: choose average or bicubic")
        if factor < 2:
            raise InputError(f"operator.factor={factor}: give a whole number >= 2")
        self.factor, self.method, self.noise = factor, method, checked_noise(noise)

    def make(self, shape: Sequence[int], aside: Aside) -> Map:
        channels, height, width = picture(shape, "downsample")
        if height % self.factor or width % self.factor:
            raise InputError(
                f"operator.factor={self.factor}: {height} x {width} pixels do not divide by it; "
                "give a factor that divides both"
            )
        matrix = _averages if self.method == "average" else _cubics
        return SeparableMap(channels, matrix(height, self.factor), matrix(width, self.factor))


def _averages(n: int, factor: int) -> Tensor:
    """[n / factor, n]: the mean of each block."""
    return torch.kron(
        torch.eye(n // factor, dtype=torch.float64),
        torch.full((1, factor), 1 / factor, dtype=torch.float64),
    )


def _cubics(n: int, factor: int) -> Tensor:
    """[n / factor, n]: Keys's cubic, stretched by the factor, each row of sum one."""
    centres = (torch.arange(n // factor, dtype=torch.float64) + 0.5) * factor - 0.5
    d = ((torch.arange(n, dtype=torch.float64) - centres[:, None]) / factor).abs()
    near = (CUBIC + 2) * d**3 - (CUBIC + 3) * d**2 + 1
    far = CUBIC * (d**3 - 5 * d**2 + 8 * d - 4)
    weights = torch.where(d < 1, near, torch.where(d < 2, far, 0))
    return weights / weights.sum(1, keepdim=True)
