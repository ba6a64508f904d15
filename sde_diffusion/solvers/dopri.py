"""Dormand-Prince 5(4) on the probability flow, with its own error control for each sample."""

from __future__ import annotations

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.noise import Noise
from sde_diffusion.reverse import Reverse
from sde_diffusion.solvers.base import BlackBox, expand, row_norm

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


class DoPri(BlackBox):
    """dy/dv = D(y, e^-v) - y, y = x / alpha, v = log(alpha / sigma).

    Each sample has its own v and its own step, and only samples that are still under way are
    evaluated: a sample costs, and is, the same whatever its batch.

    Args:
        rtol, atol: local tolerances; a step is kept if the root mean square of
            error / (atol + rtol |y|) is at most 1.
    """

    def __init__(self, rtol: float = 1e-4, atol: float = 1e-4) -> None:
        if not (rtol > 0 and atol > 0):
            raise InputError(f"solver.rtol={rtol}, solver.atol={atol}: give numbers > 0")
        self.rtol, self.atol = rtol, atol

    def integrate(self, reverse: Reverse, x: Tensor, times: Tensor, noise: Noise) -> Tensor:
        sde = reverse.sde
        first, last = sde.lam(times[[0, -1]])
        y = x / sde.alpha(times[0])
        v = first.repeat(len(x))
        step = torch.minimum(torch.full_like(v, self.rtol**0.2), last - first)
        slope = self._slope(reverse, y, v, last)
        under_way = torch.arange(len(x))
        while len(under_way):
            rows = reverse.rows(under_way)
            h = torch.minimum(step[under_way], last - v[under_way])
            y_new, slope_new, error = self._try(
                rows, y[under_way], v[under_way], h, slope[under_way], last
            )
            kept = error <= 1
            done = under_way[kept]
            y[done], slope[done] = y_new[kept], slope_new[kept]
            v[done] = v[done] + h[kept]
            growth = (0.9 * error.clamp_min(1e-10) ** -0.2).clamp(0.2, 5.0)
            step[under_way] = h * torch.where(kept, growth, growth.clamp(max=0.9)).nan_to_num(0.2)
            # What is left of the interval is below the rounding of v: it has arrived.
            under_way = under_way[(last - v[under_way]) > 1e-12]
            if len(under_way) and float(step[under_way].min()) < 1e-10:
                raise InputError(
                    f"solver.rtol={self.rtol}, solver.atol={self.atol}: the step vanished; "
                    "loosen them, or set dtype=float64"
                )
        return sde.alpha(times[-1]) * y

    def _slope(self, reverse: Reverse, y: Tensor, v: Tensor, last: Tensor) -> Tensor:
        return reverse.denoiser(y, torch.exp(-torch.minimum(v, last)), reverse.cond) - y

    def _try(
        self, reverse: Reverse, y: Tensor, v: Tensor, h: Tensor, slope: Tensor, last: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One step of size h [N]: the state, its slope, and its error in units of the tolerance."""
        column = expand(h, y).to(y)
        slopes, stage = [slope], y
        for c, row in zip(C, A, strict=True):
            stage = y + column * combine(row, slopes)
            slopes.append(self._slope(reverse, stage, v + c * h, last))
        scale = self.atol + self.rtol * torch.maximum(y.abs(), stage.abs())
        error = row_norm(column * combine(E, slopes) / scale) / y[0].numel() ** 0.5
        return stage, slopes[-1], error.to(v)


def combine(weights: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    """sum_j w_j k_j."""
    total = weights[0] * slopes[0]
    for weight, slope in zip(weights[1:], slopes[1:], strict=True):
        total = total + weight * slope
    return total
