"""Euler-Maruyama on the reverse SDE; Euler on the probability flow at eta = 0."""

from __future__ import annotations

import math
from typing import Annotated

from torch import Tensor

from sde_diffusion.process.noise import Noise
from sde_diffusion.solvers.base import StepSolver, linear
from sde_diffusion.solvers.step import Ask, Step
from sde_diffusion.system.ranges import Within


class EulerMaruyama(StepSolver[None]):
    """x_s = x_t + (s - t) drift_eta(x_t, t) + eta g(t) sqrt(t - s) z.

    drift_eta = f x - (1 + eta^2) / 2 g^2 score (arXiv:2011.13456, eq. 6 and 13), in the SDE's own
    time.

    Args:
        eta: >= 0; 1 is the reverse SDE, 0 the probability flow.
    """

    papers = ("2011.13456",)
    order = 1
    covariant = False

    def __init__(self, eta: Annotated[float, Within("0 <= eta <= 4")] = 1.0) -> None:
        self.eta = eta
        self.stochastic = eta > 0

    def step(
        self, ask: Ask, x: Tensor, step: Step, state: None, noise: Noise
    ) -> tuple[Tensor, None]:
        a, b = step.a, step.b
        h = a.t - b.t
        terms = [(1.0, x), (-h, ask.drift(x, a, self.eta))]
        if self.stochastic and not step.last:
            terms.append((self.eta * math.sqrt(ask.g2(a) * h), noise.normal(a.t, b.t)))
        return linear(*terms), None
