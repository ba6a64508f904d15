"""What a linear solver does to a Gaussian, read off the solver itself: no sampling.

With a Gaussian's denoiser, which acts on each mode by itself, a fixed-step solver that is linear
in the state is one line for each mode k,

    x_T = b_k + a_k x_0 + sum_i B_ik z_i,

z_i its noise draws. So its law is known exactly: mean b + a m, variance a^2 v + sum_i B_i^2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sde_diffusion.denoisers.closed_form import GaussianDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.exact.gaussian import Gaussian
from sde_diffusion.process.noise import Noise
from sde_diffusion.process.sde import SDE
from sde_diffusion.solvers.base import Solver
from sde_diffusion.solvers.step import Ask


@dataclass(frozen=True)
class Response:
    """offset b [d], gain a [d] on the start, gains B [m, d] on each of the m noise draws."""

    offset: Tensor
    gain: Tensor
    draws: Tensor

    def law(self, start: Gaussian) -> Gaussian:
        """The law of the end for this law of the start, whose modes the response is of."""
        mean = self.offset + self.gain * start.mode_mean
        variance = self.gain.square() * start.variance + self.draws.square().sum(0)
        return start.with_modes(mean, variance)


class Taps(Noise):
    """Each draw is a zero that remembers itself, so that the end can be differentiated by it."""

    def __init__(self, d: int) -> None:
        self.d = d
        self.drawn: list[Tensor] = []

    def fresh(self) -> Tensor:
        self.drawn.append(torch.zeros(1, self.d, dtype=torch.float64, requires_grad=True))
        return self.drawn[-1]

    def normal(self, t: float, s: float) -> Tensor:
        return self.fresh()

    def entropy(self) -> list[int]:
        raise InputError("solver: draws its own random numbers and has no exact law; sample it")


def response(
    solver: Solver, sde: SDE, times: Tensor, variance: Tensor, mean: Tensor | None = None
) -> Response:
    """Offset, transfer function and impulse responses of ``solver`` along ``times``.

    A deterministic solver is run on two rows, zeros and ones: b is the first, a their difference.
    A stochastic one is run once on zeros, and all its impulse responses come from one reverse
    differentiation, since the end is linear in every draw: memory and time grow with the number of
    steps, not with its square.

    Args:
        solver: one that declares itself ``linear``; another is refused.
        variance, mean: of x_0, mode by mode, float64 [d].
    """
    if not solver.linear:
        raise InputError(
            f"solver={type(solver).__name__}: norms of the state or error control make it no "
            "linear map, it has no exact law; sample it, or choose a solver of fixed steps"
        )
    ask = Ask(sde, GaussianDenoiser(variance, mean))
    d, noise = len(variance), Taps(len(variance))
    if not solver.stochastic:
        with torch.no_grad():
            rows = torch.stack([torch.zeros_like(variance), torch.ones_like(variance)])
            zero, one = solver.solve(ask, rows, times, noise)
        return Response(zero, one - zero, torch.zeros(0, d, dtype=torch.float64))
    with torch.enable_grad():
        start = torch.zeros(1, d, dtype=torch.float64, requires_grad=True)
        end = solver.solve(ask, start, times, noise)
        # Modes do not mix: the derivative of the sum holds each mode's own.
        gain, *draws = torch.autograd.grad(end.sum(), [start, *noise.drawn], materialize_grads=True)
    return Response(
        end.detach()[0], gain[0], torch.cat(draws) if draws else torch.zeros(0, d).to(gain)
    )


def law(
    solver: Solver, sde: SDE, times: Tensor, covariance: Tensor, mean: Tensor | None = None
) -> Gaussian:
    """The law of ``solver`` at times[-1], started from the exact law at times[0].

    Args:
        covariance, mean: of x_0: a matrix [d, d] or variances [d] of independent coordinates.
    """
    data = Gaussian.of(covariance, mean)
    answer = response(solver, sde, times, data.variance, data.mode_mean)
    return answer.law(data.at(sde, times[0]))


def relative_error(
    solver: Solver, sde: SDE, times: Tensor, covariance: Tensor, mean: Tensor | None = None
) -> float:
    """Wasserstein-2 distance of ``law`` to the exact law at times[-1], over the root of the total
    variance of the latter.

    Args:
        solver, sde: a linear solver, and the process. times: decreasing float64 [n + 1].
        covariance, mean: of x_0: a matrix [d, d] or variances [d] of independent coordinates.
    """
    data = Gaussian.of(covariance, mean)
    answer = response(solver, sde, times, data.variance, data.mode_mean)
    return answer.law(data.at(sde, times[0])).relative_w2(data.at(sde, times[-1]))
