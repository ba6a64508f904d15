"""ER-SDE-Solvers: multistep solvers for extended reverse-time SDEs, any noise-scale function."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

import numpy as np
from torch import Tensor

from sde_diffusion.process.noise import Noise
from sde_diffusion.solvers.base import linear
from sde_diffusion.solvers.history import History
from sde_diffusion.solvers.multistep import Multistep
from sde_diffusion.solvers.quadrature import gauss_legendre, once_a_grid
from sde_diffusion.solvers.step import Ask, Step
from sde_diffusion.system.ranges import OneOf

Scale = Callable[[np.ndarray], np.ndarray]
# phi(r) / r of each noise-scale function phi, which must not decrease in r.
SCALES: dict[str, Scale] = {
    "ode": np.ones_like,
    "sde": lambda r: r,
    "sde_5": lambda r: np.exp(r**0.3) + 10,
}


class ERSDE(Multistep):
    """y_s = p y_t + (1 - p) D_i + c_1 D' + c_2 D'' + sqrt(s^2 - (p t)^2) z, p = phi(s) / phi(t).

    y = x / alpha; t, s stand for the noise levels r = sigma / alpha of the step's ends, and

    c_1 = int_s^t (phi(s) / phi(r) - 1) dr, c_2 = int_s^t (phi(s) / phi(r) - 1) (r - t) dr,
    D'_i = (D_i - D_{i-1}) / (r_i - r_{i-1}), D'' = 2 (D'_i - D'_{i-1}) / (r_i - r_{i-2})

    (arXiv:2309.06169). The first steps have fewer terms. D' is the backward quotient as published,
    itself of first order: with D'' the formula is still of second order. The last step, whose noise
    is left out, follows the flow (phi = r) beyond order 1.

    Args:
        order: 1, 2 or 3: without D', with D', with D''.
        scale: phi. ``ode`` r, the probability flow; ``sde`` r^2, the reverse SDE; ``sde_5``
            r (e^(r^0.3) + 10), what the paper recommends.
    """

    papers = ("2309.06169",)

    def __init__(
        self,
        order: Annotated[int, OneOf(1, 2, 3)] = 3,
        scale: Annotated[str, OneOf(*SCALES)] = "sde_5",
    ) -> None:
        self.depth = order
        self.order = min(order, 2)
        self.scale = SCALES[scale]
        self.stochastic = scale != "ode"

    def move(self, ask: Ask, x: Tensor, step: Step, history: History, noise: Noise) -> Tensor:
        a, b = step.a, step.b
        r = [math.exp(-lam) for lam in history.lam]
        r_t, r_s = r[0], b.noise_level
        scale = SCALES["ode"] if self.flows(step) else self.scale
        scale_t, scale_s = scale(np.array([r_t, r_s]))
        share = float(scale_s / scale_t)
        p = r_s / r_t * share
        weights = [1 - p]
        if len(r) > 1:
            c_1, c_2 = integrals(scale, r_t, r_s)
            newest = c_1 / (r[0] - r[1])
            weights = [1 - p + newest, -newest]
        if len(r) > 2:
            curve = 2 * c_2 / (r[0] - r[2])
            newest, older = curve / (r[0] - r[1]), curve / (r[1] - r[2])
            weights = [weights[0] + newest, weights[1] - newest - older, older]
        terms = [(p / a.alpha, x), *zip(weights, history.values, strict=True)]
        if self.stochastic and not step.last:
            terms.append((r_s * math.sqrt(1 - share**2), noise.normal(a.t, b.t)))
        return linear(*((b.alpha * weight, value) for weight, value in terms))


@once_a_grid
def integrals(scale: Scale, r_t: float, r_s: float) -> tuple[float, float]:
    """c_1 and c_2, by quadrature in log r."""
    points, weights = gauss_legendre(math.log(r_s), math.log(r_t))
    r = np.exp(points)
    excess = (r_s * scale(np.array(r_s)) / (r * scale(r)) - 1) * r
    return float(excess @ weights), float((excess * (r - r_t)) @ weights)
