"""DEIS-tAB: exponential Adams-Bashforth with the noise extrapolated in the time of the VP SDE."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.noise import Noise
from sde_diffusion.reverse import Reverse
from sde_diffusion.sde import VP
from sde_diffusion.solvers.base import StepSolver
from sde_diffusion.solvers.history import History
from sde_diffusion.solvers.quadrature import gauss_legendre, lagrange_integrals


class DEIS(StepSolver[History]):
    """y_s = y_t + sum_j n_{i-j} int_{r_t}^{r_s} l_j dr, y = x / alpha, r = sigma / alpha.

    l_j are the Lagrange polynomials through the last few predicted noises n, in the time tau(r) of
    a VP SDE, the standard one, whatever the SDE is (tAB; DEIS, arXiv:2204.13902, eq. 15). The first
    steps have fewer nodes.

    Args:
        order: 1, 2 or 3, the degree of the polynomial (published: tAB1 .. tAB3).
        beta_min, beta_max: of that VP SDE.
    """

    order = 2

    def __init__(self, order: int = 3, beta_min: float = 0.1, beta_max: float = 20.0) -> None:
        if order not in (1, 2, 3):
            raise InputError(f"solver.order={order}: choose 1, 2 or 3")
        if not 0 < beta_min < beta_max:
            raise InputError(f"solver.beta_min={beta_min}: give 0 < beta_min < {beta_max}")
        self.degree = order
        self.vp = VP(beta_min, beta_max)

    def init(self, reverse: Reverse, x: Tensor, times: Tensor) -> History:
        return History.start(times)

    def step(
        self, reverse: Reverse, x: Tensor, t: Tensor, s: Tensor, state: History | None, noise: Noise
    ) -> tuple[Tensor, History]:
        assert state is not None
        sde = reverse.sde
        history = state.push(reverse.noise(x, t), sde.lam(t), keep=self.degree + 1)
        y_s = x / sde.alpha(t)
        weights = integrals(history.lam, sde.lam(s), self.vp)
        for weight, value in zip(weights, history.values, strict=True):
            y_s = y_s + weight * value
        return sde.alpha(s) * y_s, history


def integrals(lam: Sequence[Tensor], lam_s: Tensor, vp: VP) -> list[Tensor]:
    """int l_j dr from lam[0] to lam_s for nodes at ``lam``; by quadrature in log r = -lam."""
    points, weights = gauss_legendre(lam[0], lam_s)
    nodes = [vp.time(value) for value in lam]
    return lagrange_integrals(nodes, vp.time(points), -weights * torch.exp(-points))
