"""Dormand-Prince 5(4) for a batch of independent equations, each with its own steps."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.solvers.adaptive.report import Report
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

Slope = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
Field = Callable[[slice | Tensor], Slope]
Size = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def dormand_prince(
    field: Field, y: Tensor, ends: Tensor, size: Size, first: float, key: str, most: int = MOST
) -> Tensor:
    """y [N, ...] at ends[0] -> y at ends[1], for dy/du = slope, u the log of a noise level.

    Each row has its own u and its own step, and leaves the batch when it has arrived: a row costs,
    and is, the same whatever its batch. Until then rows stay whole and a refused step is masked.
    All control is on the device of y, which is read once a step; nothing but the numbers of the
    rows that go on is copied to it, when some leave. Nothing is shared between rows, so processes
    that hold different rows need not take equally many steps.

    Args:
        field: rows of the batch -> the slope of those, (y [M, ...], u float64 [M]) -> dy/du, and
            whether the answer that it is made of is finite, bool [M].
        ends: float64 [2], in either direction.
        size: (error, y, y_new, u) -> size of a step's error in units of what is allowed, [M]; the
            step is kept if it is at most 1.
        first: length of the first step that is tried.
        key: what the user set, as ``name=value``: the head of the error message.
        most: steps, the refused ones among them.

    InputError if an answer is not finite, if a step vanishes, or after ``most``: allowed errors
    below the rounding of y or of its slope.
    """
    start, end = ends.to("cpu", torch.float64).tolist()
    length, sign = abs(end - start), math.copysign(1.0, end - start)
    least = 1e-10 * max(1.0, length)
    rows = torch.arange(len(y), device=y.device)
    gone = torch.zeros(len(y), dtype=torch.float64, device=y.device)  # length behind each row
    step = torch.full_like(gone, min(first, length))
    out, slope, report = torch.empty_like(y), field(slice(None)), Report(gone)

    def evaluate(y: Tensor, gone: Tensor) -> Tensor:
        u = start + sign * gone.clamp(max=length)
        derivative, finite = slope(y, u)
        report.see(finite, u)
        return derivative

    k_1 = evaluate(y, gone)
    for _ in range(most):
        h = torch.minimum(step, length - gone)
        column = sign * expand(h, y).to(y)
        slopes, stage = [k_1], y
        for c, weights in zip(C, A, strict=True):
            stage = y + column * combine(weights, slopes)
            slopes.append(evaluate(stage, gone + c * h))
        error = size(column * combine(E, slopes), y, stage, start + sign * gone).to(gone)
        kept = error <= 1
        y = torch.where(expand(kept, y), stage, y)
        k_1 = torch.where(expand(kept, y), slopes[-1], k_1)
        gone = gone + torch.where(kept, h, 0.0)
        growth = (0.9 * error.clamp_min(1e-10) ** -0.2).clamp(0.2, 5.0)
        step = h * torch.where(kept, growth, growth.clamp(max=0.9)).nan_to_num(0.2)
        # What is left of the interval is below the rounding of u: it has arrived.
        under_way, (lengths,) = report.read(length - gone > 1e-12 * max(1.0, length), step)
        if not under_way or len(under_way) < len(rows):
            out[rows] = y
        if not under_way:
            return out
        if min(lengths) < least:
            raise InputError(f"{key}: the step vanished; {remedy(y)}")
        if len(under_way) < len(rows):
            left = torch.tensor(under_way, device=y.device)
            rows, y, k_1, gone, step = (v[left] for v in (rows, y, k_1, gone, step))
            slope, report = field(rows), Report(gone)
    raise InputError(f"{key}: {most} steps did not reach the end; {remedy(y)}")


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
