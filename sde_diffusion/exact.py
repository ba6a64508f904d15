"""The exact test bed: the law of a linear solver on a Gaussian, without sampling.

A fixed-step solver that is linear in the state maps a Gaussian to a Gaussian. Run in the eigenbasis
on a batch that holds a zero, a vector of ones and one impulse for each noise draw, it yields its
offset, its gain on the start and its gain on each draw, mode by mode: the exact law of what it
makes, in milliseconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sde_diffusion.closed_form import GaussianDenoiser
from sde_diffusion.noise import Noise
from sde_diffusion.reverse import Reverse
from sde_diffusion.sde import SDE
from sde_diffusion.solvers.base import Solver


@dataclass(frozen=True)
class ModeLaw:
    """A Gaussian with independent modes: mean [d] and variance [d]."""

    mean: Tensor
    variance: Tensor

    def relative_w2(self, exact: ModeLaw) -> float:
        """Wasserstein-2 distance to ``exact`` over the root of its total variance.

        W2^2 = sum_k (m_k - m'_k)^2 + (s_k - s'_k)^2 for independent modes.
        """
        spread = (self.variance.sqrt() - exact.variance.sqrt()).square()
        squared = (self.mean - exact.mean).square() + spread
        return float((squared.sum() / exact.variance.sum()).sqrt())


class Impulses(Noise):
    """The k-th draw is one in row k + 2 and zero elsewhere; rows 0 and 1 stay silent."""

    def __init__(self, rows: int, d: int) -> None:
        self.rows, self.d, self.drawn = rows, d, 0

    def fresh(self) -> Tensor:
        z = torch.zeros(self.rows, self.d, dtype=torch.float64)
        if self.drawn + 2 < self.rows:
            z[self.drawn + 2] = 1
        self.drawn += 1
        return z

    def normal(self, t: Tensor, s: Tensor) -> Tensor:
        return self.fresh()

    def entropy(self) -> list[int]:
        raise ValueError("this solver makes its own noise: its law is not that of a linear map")


def marginal(sde: SDE, t: Tensor, variance: Tensor, mean: Tensor | None = None) -> ModeLaw:
    """The exact law of x_t for x_0 ~ N(mean, diag(variance))."""
    centre = torch.zeros_like(variance) if mean is None else mean
    return ModeLaw(sde.alpha(t) * centre, sde.alpha(t) ** 2 * variance + sde.sigma(t) ** 2)


@torch.no_grad()
def law(
    solver: Solver, sde: SDE, times: Tensor, variance: Tensor, mean: Tensor | None = None
) -> ModeLaw:
    """The law of ``solver`` at times[-1], started from the exact law at times[0].

    Args:
        solver: linear in the state (no norms, no error control); stochastic or not.
        variance, mean: of x_0 in its eigenbasis, float64 [d].
    """
    d = len(variance)
    reverse = Reverse(sde, GaussianDenoiser(variance, mean))
    draws = 0
    if solver.stochastic:
        # A few steps tell how many draws a step takes, last step included.
        counting, few = Impulses(2, d), times[-9:]
        solver.solve(reverse, torch.zeros(2, d, dtype=torch.float64), few, counting)
        draws = math.ceil(counting.drawn / (len(few) - 1)) * (len(times) - 1)
    x = torch.zeros(2 + draws, d, dtype=torch.float64)
    x[1] = 1
    noise = Impulses(len(x), d)
    response = solver.solve(reverse, x, times, noise)
    if noise.drawn > draws:
        raise ValueError(f"{type(solver).__name__} drew {noise.drawn} times, {draws} were expected")
    offset, gains = response[0], response[1:] - response[0]
    start = marginal(sde, times[0], variance, mean)
    return ModeLaw(
        offset + gains[0] * start.mean,
        gains[0] ** 2 * start.variance + gains[1:].square().sum(0),
    )


def relative_error(
    solver: Solver, sde: SDE, times: Tensor, variance: Tensor, mean: Tensor | None = None
) -> float:
    """Relative W2 of a solver's law to the exact law at times[-1]."""
    found = law(solver, sde, times, variance, mean)
    return found.relative_w2(marginal(sde, times[-1], variance, mean))


def natural_image_variances(side: int = 8) -> Tensor:
    """Eigenvalues [3 side^2] of a Gaussian like small colour pictures, of mean variance 0.25.

    Power 1 / |f|^2 on the integer frequency grid (|f|^2 = 0.5 at zero), three decorrelated
    channels with variance ratio 1 : .15 : .05.
    """
    f = torch.fft.fftfreq(side, 1 / side, dtype=torch.float64)
    f2 = f[:, None] ** 2 + f**2
    power = 1 / torch.where(f2 == 0, 0.5, f2)
    channels = torch.tensor([1.0, 0.15, 0.05], dtype=torch.float64)
    variance = (channels[:, None] * power.flatten()).flatten()
    return variance * (0.25 / variance.mean())
