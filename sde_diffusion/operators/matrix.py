"""A matrix: of vectors by its rows, and of pictures as what others are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.operators.base import Aside, LinearMap, Map, Operator, checked_noise


@final
class MatrixMap(LinearMap):
    """A x for a matrix on flattened states.

    Args:
        matrix: A [prod(out), prod(shape)], dense or sparse (COO), float64.
        shape, out: of one state and of one measurement.
    """

    def __init__(self, matrix: Tensor, shape: Sequence[int], out: Sequence[int]) -> None:
        super().__init__(shape, out)
        transpose = matrix.t().coalesce() if matrix.is_sparse else matrix.T
        self._matrices = {torch.float64: (matrix, transpose)}

    def forward(self, x: Tensor) -> Tensor:
        return (self._of(x, 0) @ x.flatten(1).T).T.reshape(-1, *self.out)

    def adjoint(self, y: Tensor) -> Tensor:
        return (self._of(y, 1) @ y.flatten(1).T).T.reshape(-1, *self.shape)

    def _of(self, x: Tensor, which: int) -> Tensor:
        """A or A^T in the dtype of x, kept, and on its device."""
        if x.dtype not in self._matrices:
            a, b = self._matrices[torch.float64]
            self._matrices[x.dtype] = a.to(x.dtype), b.to(x.dtype)
        return self._matrices[x.dtype][which].to(x.device)


class Matrix(Operator):
    """y = A x for vectors x [d].

    Args:
        rows: of A, each of d numbers. noise: standard deviation of each number measured.
    """

    def __init__(self, rows: Sequence[Sequence[float]] = ((1.0, 0.0),), noise: float = 0.1) -> None:
        if not rows or len({len(row) for row in rows}) != 1 or not rows[0]:
            raise InputError("operator.rows: give rows of one length, [[1,0],[1,1]], say")
        self.rows, self.noise = rows, checked_noise(noise)

    def make(self, shape: Sequence[int], aside: Aside) -> Map:
        matrix = torch.tensor([list(row) for row in self.rows], dtype=torch.float64)
        if tuple(shape) != (matrix.shape[1],):
            raise InputError(
                f"operator.rows: {matrix.shape[1]} numbers a row for states {tuple(shape)}; "
                "give as many as a state has"
            )
        return MatrixMap(matrix, shape, (len(matrix),))
