"""What an integrator must know of its rows after a step, in one read of the device."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.solvers.base import not_finite


class Report:
    """Which rows go on, how they do, and whether all answers were finite.

    Args:
        like: float64 [M], on the device of the rows.
    """

    def __init__(self, like: Tensor) -> None:
        # Where a row was first answered with what is not finite; not a number where it never was.
        self.fault = torch.full_like(like, math.nan)

    def see(self, finite: Tensor, u: Tensor) -> None:
        """Whether the answers at the log noise levels u [M] are finite, bool [M]."""
        self.fault = torch.where(finite | self.fault.isfinite(), self.fault, u)

    def read(self, under_way: Tensor, *columns: Tensor) -> tuple[list[int], list[list[float]]]:
        """The rows that go on, and the numbers of those rows in each of ``columns`` [M].

        InputError if an answer was not finite. No step is short enough for such an answer: one
        would be looked for to no end, and the tolerances blamed.
        """
        table = [column.to(self.fault) for column in (under_way, self.fault, *columns)]
        goes_on, fault, *others = torch.stack(table).cpu().tolist()
        for u in fault:
            if not math.isnan(u):
                raise not_finite(math.exp(u))
        rows = [k for k, goes in enumerate(goes_on) if goes]
        return rows, [[column[k] for k in rows] for column in others]


class Allowance:
    """Evaluations of one sample, beyond which its tolerances are refused: they would take for ever.

    Args:
        most: evaluations. key: what the user set, as ``name=value``.
    """

    def __init__(self, most: int, key: str) -> None:
        self.left, self.most, self.key = most, most, key

    def spend(self) -> None:
        """One more; InputError where none is left."""
        if not self.left:
            raise InputError(
                f"{self.key}: {self.most} evaluations did not reach the end; loosen them"
            )
        self.left -= 1
