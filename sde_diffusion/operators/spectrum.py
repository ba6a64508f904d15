"""A = U diag(s) V^T, and equations in A A^T."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sde_diffusion.errors import InputError

Change = Callable[[Tensor], Tensor]
# Singular values below this share of the largest count as zero.
CUT = 1e-4
# Rows of A whose A A^T is made an array of.
LARGEST = 3000


@final
@dataclass(frozen=True)
class Spectrum:
    """The singular values of a linear map and its changes of coordinates.

    Attributes:
        values: s >= 0, [*coordinates], or [N, *coordinates] where rows have maps of their own; 0
            for directions that are not measured.
        analysis: V^T, x [N, *shape] -> [N, *coordinates].
        synthesis: V, its adjoint. Directions that are no column of V are not measured.
        data: U^T, y [N, *out] -> [N, *coordinates]; what belongs to s = 0 is 0.
    """

    values: Tensor
    analysis: Change
    synthesis: Change
    data: Change

    def inverse(self, like: Tensor) -> Tensor:
        """1 / s, 0 where s is 0; dtype and device of ``like``."""
        s = self.values.to(like)
        return torch.where(s > 0, 1 / s.clamp_min(1e-30), 0)


def cut(values: Tensor) -> Tensor:
    """``values`` with those below ``CUT`` of the largest put to 0."""
    return torch.where(values > CUT * values.max(), values, 0)


def gram_spectrum(
    forward: Change, adjoint: Change, shape: Sequence[int], out: Sequence[int]
) -> Spectrum:
    """By the eigenvectors of A A^T, in float64: V^T x = s^-1 U^T A x.

    Args:
        forward, adjoint: A and A^T. shape, out: of one state and of one measurement.
    """
    m = math.prod(out)
    if m > LARGEST:
        raise InputError(
            f"operator: its singular values are not known, and {m} measurements are too many to "
            f"find them ({LARGEST} at most); choose a method that needs none: diffpir, daps, mmps"
        )
    unit = torch.eye(m, dtype=torch.float64).reshape(m, *out)
    gram = torch.cat([forward(adjoint(part)).flatten(1) for part in unit.split(256)])
    squares, u = torch.linalg.eigh((gram + gram.T) / 2)
    s = cut(squares.clamp_min(0).sqrt())
    u, s = u[:, s > 0], s[s > 0]

    def data(y: Tensor) -> Tensor:
        return y.flatten(1) @ u.to(y)

    def analysis(x: Tensor) -> Tensor:
        return data(forward(x)) / s.to(x)

    def synthesis(z: Tensor) -> Tensor:
        return adjoint(((z / s.to(z)) @ u.to(z).T).reshape(-1, *out))

    return Spectrum(s, analysis, synthesis, data)


def conjugate_gradients(matrix: Change, b: Tensor, iterations: int = 100) -> Tensor:
    """x [N, ...] with M x = b for a symmetric M >= 0, each row by itself (Hestenes & Stiefel 1952).

    A row whose residual is rounding stays as it is. Nothing is read from the device.

    Args:
        matrix: M, [N, ...] -> [N, ...]. b: [N, ...]. iterations: all are taken.
    """
    x, r = torch.zeros_like(b), b
    p, rho = r, _dot(r, r)
    tiny = rho * torch.finfo(b.dtype).eps ** 2 + torch.finfo(b.dtype).tiny
    for _ in range(iterations):
        q = matrix(p)
        curvature = _dot(p, q)
        going = (rho > tiny) & (curvature > 0)
        step = torch.where(going, rho / curvature.where(going, torch.ones_like(rho)), 0)
        x, r = x + step * p, r - step * q
        new = _dot(r, r)
        p = r + torch.where(going, new / rho.where(going, torch.ones_like(rho)), 0) * p
        rho = torch.where(going, new, torch.zeros_like(rho))
    return x


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """<a, b> of each row, [N, 1, ...]."""
    return (a * b).flatten(1).sum(1).reshape(-1, *[1] * (a.ndim - 1))
