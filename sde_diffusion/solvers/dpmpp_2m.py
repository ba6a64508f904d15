"""DPM-Solver++(2M): second-order multistep in the half log-SNR."""

from __future__ import annotations

import math

from torch import Tensor

from sde_diffusion.process.noise import Noise
from sde_diffusion.solvers.base import linear
from sde_diffusion.solvers.history import History
from sde_diffusion.solvers.multistep import Multistep
from sde_diffusion.solvers.step import Ask, Step


class DPMpp2M(Multistep):
    """x_s = sigma_s / sigma_t x_t - alpha_s expm1(-h) ((1 + 1/2r) D_i - 1/2r D_{i-1}).

    h = lam_s - lam_t, r = h_{i-1} / h (DPM-Solver++, arXiv:2211.01095, algorithm 2). The first step
    is of first order.

    Args:
        lower_order_final: make the last step of first order too (published for few steps).
    """

    papers = ("2211.01095",)
    order = 2
    depth = 2

    def __init__(self, lower_order_final: bool = False) -> None:
        self.lower_order_final = lower_order_final

    def move(self, ask: Ask, x: Tensor, step: Step, history: History, noise: Noise) -> Tensor:
        a, b = step.a, step.b
        h = step.h
        if self.lower_order_final and step.last:
            history = history.newest(1)
        change = -b.alpha * math.expm1(-h)
        return linear((b.sigma / a.sigma, x), *((change * c, d) for c, d in history.middle(h)))
