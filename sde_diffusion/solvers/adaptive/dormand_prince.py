"""Dormand-Prince 5(4) for a batch of independent equations, each with its own steps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.solvers.base import expand

# Dormand and Prince 1980; the last row of A is the fifth-order solution.
C = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
A = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
# Fifth minus fourth order.
E = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)

# An error of 1e-12 takes 800 steps in float64. A request below the rounding of a denoiser, whose
# dtype may be another than that of the state, would go on with ever shorter ones.
MOST = 5_000

Slope = Callable[[Tensor, Tensor, Tensor], Tensor]
Size = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def dormand_prince(
    slope: Slope, y: Tensor, ends: Tensor, size: Size, first: float, key: str
) -> Tensor:
    """y [N, ...] at ends[0] -> y at ends[1], for dy/du = slope.

    Each row has its own u and its own step, and only rows that are still under way are evaluated:
    a row costs, and is, the same whatever its batch. Nothing is shared between rows, so processes
    that hold different rows need not take equally many steps.

    Args:
        slope: (rows, y, u) -> dy/du of those rows; rows int64 [M], y [M, ...], u float64 [M].
        ends: float64 [2], in either direction.
        size: (error, y, y_new, u) -> size of a step's error in units of what is allowed, [M]; the
            step is kept if it is at most 1.
        first: length of the first step that is tried.
        key: what the user set, as ``name=value``: the head of the error message.

    InputError if a step vanishes, or after ``MOST``: allowed errors below the rounding of y or of
    its slope.
    """
    ends = ends.to("cpu", torch.float64)
    length = float((ends[1] - ends[0]).abs())
    sign = float((ends[1] - ends[0]).sign())
    y = y.clone()
    gone = torch.zeros(len(y), dtype=torch.float64)  # length behind each row
    step = torch.full_like(gone, min(first, length))
    under_way = torch.arange(len(y))

    def evaluate(rows: Tensor, y: Tensor, gone: Tensor) -> Tensor:
        return slope(rows, y, ends[0] + sign * gone.clamp(max=length))

    known = evaluate(under_way, y, gone)
    for _ in range(MOST):
        rows, start = under_way, gone[under_way]
        h = torch.minimum(step[rows], length - start)
        column = sign * expand(h, y).to(y)
        slopes, stage = [known[rows]], y[rows]
        for c, weights in zip(C, A, strict=True):
            stage = y[rows] + column * combine(weights, slopes)
            slopes.append(evaluate(rows, stage, start + c * h))
        found = size(column * combine(E, slopes), y[rows], stage, ends[0] + sign * start)
        error = found.to("cpu", torch.float64)
        kept = error <= 1
        done = rows[kept]
        y[done], known[done] = stage[kept], slopes[-1][kept]
        gone[done] += h[kept]
        growth = (0.9 * error.clamp_min(1e-10) ** -0.2).clamp(0.2, 5.0)
        step[rows] = h * torch.where(kept, growth, growth.clamp(max=0.9)).nan_to_num(0.2)
        # What is left of the interval is below the rounding of u: it has arrived.
        under_way = rows[length - gone[rows] > 1e-12 * max(1.0, length)]
        if not len(under_way):
            return y
        if float(step[under_way].min()) < 1e-10 * max(1.0, length):
            raise InputError(f"{key}: the step vanished; {remedy(y)}")
    raise InputError(f"{key}: {MOST} steps did not reach the end; {remedy(y)}")


def remedy(y: Tensor) -> str:
    """For a state y whose rounding is too large for what was asked."""
    return "loosen it" if y.dtype == torch.float64 else "loosen it, or set dtype=float64"


def combine(weights: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    """sum_j w_j k_j."""
    total = weights[0] * slopes[0]
    for weight, slope in zip(weights[1:], slopes[1:], strict=True):
        if weight:
            total = total.add(slope, alpha=weight)
    return total
