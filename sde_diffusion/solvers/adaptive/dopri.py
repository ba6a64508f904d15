"""Dormand-Prince 5(4) on the probability flow, with its own error control for each sample."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.process.noise import Noise
from sde_diffusion.solvers.adaptive.dormand_prince import Size, Slope, dormand_prince, remedy
from sde_diffusion.solvers.base import BlackBox, finite_rows, root_mean_square
from sde_diffusion.solvers.step import Ask
from sde_diffusion.system.ranges import Within


class DoPri(BlackBox):
    """dy/du = y - D(y, e^u), y = x / alpha, u = log(sigma / alpha).

    The user asks for an *endpoint error*: the root mean square over the pixels of a sample of
    x / alpha at the last time, against the exact flow from the same start. ``local_error`` turns
    it into what a single step may do; ``benchmarks/adaptive.md`` has the quantiles of what comes
    out. Samples are controlled one by one, so that a sample does not depend on its batch.

    The pair of order 5(4) of Dormand & Prince, doi:10.1016/0771-050X(80)90013-3.

    Args:
        error: the requested endpoint error.
        rtol, atol: local tolerances, in the place of ``error``: a step is kept if the root mean
            square of its error / (atol + rtol |y|) is at most 1.
    """

    papers = ("doi:10.1016/0771-050X(80)90013-3",)

    knobs = "solver.error, or solver.rtol and solver.atol"

    def __init__(
        self,
        error: Annotated[float, Within("1e-16 <= error < 1")] = 1e-3,
        rtol: Annotated[float, Within("1e-13 <= rtol <= 10")] | None = None,
        atol: Annotated[float, Within("1e-13 <= atol <= 10")] | None = None,
    ) -> None:
        if (rtol is None) != (atol is None):
            raise InputError(f"solver.rtol={rtol}, solver.atol={atol}: give both, or neither")
        self.error, self.rtol, self.atol = error, rtol, atol

    def integrate(self, ask: Ask, x: Tensor, times: Tensor, noise: Noise) -> Tensor:
        sde = ask.sde
        levels = sde.noise_level(times[[0, -1]])
        if self.rtol is None or self.atol is None:
            y = flow(ask, x / sde.alpha(times[0]), levels, self.error, f"solver.error={self.error}")
        else:
            key = f"solver.rtol={self.rtol}, solver.atol={self.atol}"
            size = local_tolerances(self.rtol, self.atol)
            y = flow_within(size, ask, x / sde.alpha(times[0]), levels, self.rtol**0.2, key)
        return sde.alpha(times[-1]) * y


def local_error(error: float, sigma: Tensor, up: bool = False) -> Tensor:
    """What a step at noise level sigma may do, for an endpoint error of ``error``; a pixel's RMS.

    Down to an image: an error at level sigma is carried to the end s by the flow, which for
    Gaussian data of variance L shrinks it by sqrt((L + s^2) / (L + sigma^2)), so that data of unit
    scale forgive sqrt(1 + sigma^2). Up to a latent it is the noise in the image, of size sigma,
    that the flow enlarges to unit variance: what counts is the error over sigma.

    The factor and the power are fitted to a small mixture, so that 95 % of samples end within half
    of what was asked for: steps add up, mixtures amplify where they decide between components, and
    large steps amplify more (benchmarks/adaptive.md). Below 1e-6 steps are so short that they no
    longer do, and the error is proportional to what each may leave.
    """
    return 0.025 * error * max(error, 1e-6) ** -0.2 * (sigma if up else (1 + sigma**2).sqrt())


def flow(ask: Ask, y: Tensor, levels: Tensor, error: float, key: str) -> Tensor:
    """y = x / alpha [N, *shape] at noise level levels[0] -> at levels[1], up or down the flow.

    ``error``: requested root mean square error of a sample at the end, in units of the noise level
    there if the flow is run up; InputError, which starts with ``key``, if it is below what the
    dtype of y resolves.
    """
    up = bool(levels[1] > levels[0])
    # Rounding of the state, of size 1 at the image, over the steps; up, its unit is sigma there.
    least = torch.finfo(y.dtype).eps * max(64.0, 8 / float(levels[0]) if up else 0.0)
    if error < least:
        name = str(y.dtype).removeprefix("torch.")
        raise InputError(f"{key}: {name} resolves {least:.1g} at best; {remedy(y)}")

    def size(difference: Tensor, y: Tensor, y_new: Tensor, u: Tensor) -> Tensor:
        return root_mean_square(difference).to(u) / local_error(error, u.exp(), up)

    return flow_within(size, ask, y, levels, error**0.2, key)


def flow_within(size: Size, ask: Ask, y: Tensor, levels: Tensor, first: float, key: str) -> Tensor:
    """The flow of y between two noise levels, with steps that ``size`` accepts."""
    low, high = float(levels.min()), float(levels.max())

    def field(rows: slice | Tensor) -> Slope:
        cond = ask.rows(rows).cond

        def slope(y: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
            # The exponential of a logarithm must not leave the model's range by its rounding.
            answer = ask.denoiser(y, u.exp().clamp(low, high), cond)
            return y - answer, finite_rows(answer)

        return slope

    return dormand_prince(field, y, levels.log(), size, first, key)


def local_tolerances(rtol: float, atol: float) -> Size:
    """A step's error in units of atol + rtol |y|, elementwise, root mean square."""

    def size(difference: Tensor, y: Tensor, y_new: Tensor, u: Tensor) -> Tensor:
        scale = atol + rtol * torch.maximum(y.abs(), y_new.abs())
        return root_mean_square(difference / scale)

    return size
