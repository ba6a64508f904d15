"""DEIS-tAB: exponential Adams-Bashforth with the noise extrapolated in the time of the VP SDE."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from sde_diffusion.process.noise import Noise
from sde_diffusion.process.sde import VP, BetaMax, BetaMin, Marginal
from sde_diffusion.solvers.base import linear
from sde_diffusion.solvers.history import History
from sde_diffusion.solvers.multistep import Multistep
from sde_diffusion.solvers.quadrature import gauss_legendre, lagrange_integrals, once_a_grid
from sde_diffusion.solvers.step import Ask, Step
from sde_diffusion.system.ranges import OneOf


class DEIS(Multistep):
    """y_s = y_t + sum_j n_{i-j} int_{r_t}^{r_s} l_j dr, y = x / alpha, r = sigma / alpha.

    l_j are the Lagrange polynomials through the last few predicted noises n, in the time tau(r) of
    a VP SDE, the standard one, whatever the SDE is (tAB; DEIS, arXiv:2204.13902, eq. 15). The first
    steps have fewer nodes.

    Args:
        order: 1, 2 or 3, the degree of the polynomial (published: tAB1 .. tAB3).
        beta_min, beta_max: of that VP SDE.
    """

    papers = ("2204.13902",)
    order = 2

    def __init__(
        self,
        order: Annotated[int, OneOf(1, 2, 3)] = 3,
        beta_min: BetaMin = 0.1,
        beta_max: BetaMax = 20.0,
    ) -> None:
        self.depth = order + 1
        self.vp = VP(beta_min, beta_max)

    def predict(self, ask: Ask, x: Tensor, at: Marginal) -> Tensor:
        return ask.residual(x, at)

    def move(self, ask: Ask, x: Tensor, step: Step, history: History, noise: Noise) -> Tensor:
        a, b = step.a, step.b
        weights = integrals(history.lam, b.lam, self.vp)
        # A residual is r n.
        terms = (
            (b.alpha * weight * math.exp(lam), residual)
            for weight, lam, residual in zip(weights, history.lam, history.values, strict=True)
        )
        return linear((b.alpha / a.alpha, x), *terms)


@once_a_grid
def integrals(lam: tuple[float, ...], lam_s: float, vp: VP) -> list[float]:
    """int l_j dr from lam[0] to lam_s for nodes at ``lam``; by quadrature in log r = -lam."""
    points, weights = gauss_legendre(lam[0], lam_s)
    tau = vp.time(torch.from_numpy(np.append(points, lam))).numpy()
    nodes = tau[len(points) :].tolist()
    return lagrange_integrals(nodes, tau[: len(points)], -weights * np.exp(-points))
