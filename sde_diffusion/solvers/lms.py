"""Linear multistep: Adams-Bashforth for unequal steps of the noise level."""

from __future__ import annotations

import math
from typing import Annotated

from torch import Tensor

from sde_diffusion.process.noise import Noise
from sde_diffusion.process.sde import Marginal
from sde_diffusion.solvers.base import linear
from sde_diffusion.solvers.history import History
from sde_diffusion.solvers.multistep import Multistep
from sde_diffusion.solvers.quadrature import gauss_legendre, lagrange_integrals, once_a_grid
from sde_diffusion.solvers.step import Ask, Step
from sde_diffusion.system.ranges import OneOf


class LMS(Multistep):
    """y_s = y_t + sum_j n_{i-j} int_{r_t}^{r_s} l_j(r) dr, y = x / alpha, r = sigma / alpha.

    l_j are the Lagrange polynomials in r through the last few predicted noises n: what iPNDM would
    be with the coefficients of the steps as they are, and DEIS with r in place of its time (rhoAB;
    arXiv:2204.13902, section 3.3). The first step has one node, which holds the order to 2.

    Args:
        order: 1 (DDIM) to 4, the number of predicted noises used.
    """

    papers = ("2204.13902",)

    def __init__(self, order: Annotated[int, OneOf(1, 2, 3, 4)] = 4) -> None:
        self.depth = order
        self.order = min(order, 2)

    def predict(self, ask: Ask, x: Tensor, at: Marginal) -> Tensor:
        return ask.residual(x, at)

    def move(self, ask: Ask, x: Tensor, step: Step, history: History, noise: Noise) -> Tensor:
        a, b = step.a, step.b
        levels = [math.exp(-lam) for lam in history.lam]
        weights = integrals(tuple(levels), b.noise_level)
        # A residual is r n.
        terms = (
            (b.alpha * weight / r, residual)
            for weight, r, residual in zip(weights, levels, history.values, strict=True)
        )
        return linear((b.alpha / a.alpha, x), *terms)


@once_a_grid
def integrals(levels: tuple[float, ...], r_s: float) -> list[float]:
    """int l_j dr from levels[0] to r_s for nodes at ``levels``."""
    return lagrange_integrals(levels, *gauss_legendre(levels[0], r_s))
