"""SDE-DPM-Solver++(2M): second-order multistep for the reverse SDE."""

from __future__ import annotations

import math
from typing import Annotated

from torch import Tensor

from sde_diffusion.process.noise import Noise
from sde_diffusion.solvers.base import linear
from sde_diffusion.solvers.history import History
from sde_diffusion.solvers.multistep import Multistep
from sde_diffusion.solvers.step import Ask, Step
from sde_diffusion.system.ranges import Within


class DPMpp2MSDE(Multistep):
    """x_s = sigma_s / sigma_t e^(-eta^2 h) x_t - alpha_s E D' + sigma_s sqrt(1 - e^(-2 eta^2 h)) z.

    E = expm1(-(1 + eta^2) h), D' = (1 + 1/2r) D_i - 1/2r D_{i-1}, h = lam_s - lam_t,
    r = h_{i-1} / h (DPM-Solver++, arXiv:2211.01095, section 5, for any share of noise). The first
    step is of first order. The last, whose noise is left out, follows the flow (eta = 0).

    Args:
        eta: >= 0; 1 is the reverse SDE, 0 is DPM-Solver++(2M).
    """

    papers = ("2211.01095",)
    order = 2
    depth = 2

    def __init__(self, eta: Annotated[float, Within("0 <= eta <= 4")] = 1.0) -> None:
        self.eta = eta
        self.stochastic = eta > 0

    def move(self, ask: Ask, x: Tensor, step: Step, history: History, noise: Noise) -> Tensor:
        a, b = step.a, step.b
        h = step.h
        extra = 0.0 if self.flows(step) else self.eta**2 * h
        change = -b.alpha * math.expm1(-h - extra)
        terms = [(b.sigma / a.sigma * math.exp(-extra), x)]
        terms += [(change * c, d) for c, d in history.middle(h)]
        if self.stochastic and not step.last:
            up = b.sigma * math.sqrt(-math.expm1(-2 * extra))
            terms.append((up, noise.normal(a.t, b.t)))
        return linear(*terms)
