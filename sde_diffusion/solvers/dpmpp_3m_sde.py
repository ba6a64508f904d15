"""SDE-DPM-Solver++(3M): multistep for the reverse SDE with a parabola of denoised images."""

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


class DPMpp3MSDE(Multistep):
    """x_s = sigma_s / sigma_t e^(-eta h) x_t + alpha_s (p_1 D_i + p_2 D' + p_3 D'')
             + sigma_s sqrt(1 - e^(-2 eta h)) z

    k = (1 + eta) h, p_1 = 1 - e^(-k), p_2 = 1 - p_1 / k, p_3 = 1/2 - p_2 / k; D', D'' are h, h^2
    times the first two derivatives in lam of the line or the parabola through the last two or three
    denoised images, with the factor 2 left out of D'' as published (k-diffusion; eta = 0 continues
    DPM-Solver++(3M), arXiv:2211.01095). The first step is of first order; the weak order of a
    multistep method for an SDE is 2 at most.

    Args:
        eta: >= 0; 1 is the reverse SDE, 0 the probability flow.
    """

    papers = ("2211.01095",)
    order = 2
    depth = 3

    def __init__(self, eta: Annotated[float, Within("0 <= eta <= 4")] = 1.0) -> None:
        self.eta = eta
        self.stochastic = eta > 0

    def move(self, ask: Ask, x: Tensor, step: Step, history: History, noise: Noise) -> Tensor:
        a, b = step.a, step.b
        h = step.h
        extra = 0.0 if self.flows(step) else self.eta * h
        k = h + extra
        p_1 = -math.expm1(-k)
        p_2 = 1 - p_1 / k
        weights = [p_1]
        if len(history.lam) > 1:
            slope = p_2 * h / (history.lam[0] - history.lam[1])
            weights = [p_1 + slope, -slope]
        if len(history.lam) > 2:
            l_0, l_1, l_2 = history.lam
            # D' and D'' by divided differences; p_2 weighs the one, p_3 the other.
            curve = (p_2 * (l_0 - l_1) + (0.5 - p_2 / k) * h) * h / (l_0 - l_2)
            newest, older = curve / (l_0 - l_1), curve / (l_1 - l_2)
            weights = [weights[0] + newest, weights[1] - newest - older, older]
        terms = [(b.sigma / a.sigma * math.exp(-extra), x)]
        terms += [(b.alpha * w, d) for w, d in zip(weights, history.values, strict=True)]
        if self.stochastic and not step.last:
            terms.append((b.sigma * math.sqrt(-math.expm1(-2 * extra)), noise.normal(a.t, b.t)))
        return linear(*terms)
