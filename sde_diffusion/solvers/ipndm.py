"""iPNDM: Adams-Bashforth on the predicted noise with the coefficients of equal steps."""

from __future__ import annotations

import math
from typing import Annotated

from torch import Tensor

from sde_diffusion.process.noise import Noise
from sde_diffusion.process.sde import Marginal
from sde_diffusion.solvers.base import linear
from sde_diffusion.solvers.history import History
from sde_diffusion.solvers.multistep import Multistep
from sde_diffusion.solvers.step import Ask, Step
from sde_diffusion.system.ranges import OneOf

ADAMS_BASHFORTH = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)


class IPNDM(Multistep):
    """y_s = y_t + (r_s - r_t) sum_j c_j n_{i-j}, y = x / alpha, r = sigma / alpha.

    c_j are the Adams-Bashforth coefficients of equal steps, as published (DEIS, arXiv:2204.13902,
    appendix H.3, after PNDM): on unequal steps the global order is 2 at most. The first steps
    take fewer terms.

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
        change = b.alpha * (b.noise_level - a.noise_level)
        coefficients = ADAMS_BASHFORTH[len(history.values) - 1]
        # A residual is r n.
        terms = (
            (change * c * math.exp(lam), residual)
            for c, lam, residual in zip(coefficients, history.lam, history.values, strict=True)
        )
        return linear((b.alpha / a.alpha, x), *terms)
