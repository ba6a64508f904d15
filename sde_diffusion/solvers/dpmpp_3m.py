"""DPM-Solver++(3M): third-order multistep formula in the half log-SNR."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from sde_diffusion.process.noise import Noise
from sde_diffusion.solvers.base import linear
from sde_diffusion.solvers.history import History
from sde_diffusion.solvers.multistep import Multistep
from sde_diffusion.solvers.quadrature import once_a_grid
from sde_diffusion.solvers.step import Ask, Step


class DPMpp3M(Multistep):
    """x_s = sigma_s / sigma_t x_t - alpha_s (p_1 D_i - p_2 D' + p_3 D'').

    p_1 = expm1(-h), p_2 = p_1 / h + 1, p_3 = p_2 / h - 1/2; D', D'' are h, h^2 times the first two
    derivatives in lam of the parabola through the last three denoised images (DPM-Solver++,
    arXiv:2211.01095). The published code leaves a factor 2 out of D'', which makes the formula of
    second order. The first two steps are of first and second order: they hold the global order to
    2, if with a small constant.

    Args:
        published: D'' as in the published code; false: as derived, of third order.
        lower_order_final: make the last two steps of second and first order too.
    """

    papers = ("2211.01095",)
    order = 2
    depth = 3

    def __init__(self, published: bool = True, lower_order_final: bool = False) -> None:
        self.published = published
        self.lower_order_final = lower_order_final

    def move(self, ask: Ask, x: Tensor, step: Step, history: History, noise: Noise) -> Tensor:
        a, b = step.a, step.b
        h = step.h
        if self.lower_order_final:
            history = history.newest(step.left)
        if len(history.lam) < 3:
            # The two-point formula, as in 2M.
            change = [(math.expm1(-h) * c, d) for c, d in history.middle(h)]
        else:
            weights = parabola(history.lam, h, self.published)
            change = list(zip(weights, history.values, strict=True))
        return linear((b.sigma / a.sigma, x), *((-b.alpha * c, d) for c, d in change))


@once_a_grid
def parabola(lam: tuple[float, ...], h: float, published: bool) -> list[float]:
    """p_1 D_i - p_2 D' + p_3 D'' as weights [3] of D_i, D_{i-1}, D_{i-2}."""
    p_1 = math.expm1(-h)
    p_2 = p_1 / h + 1
    p_3 = p_2 / h - 0.5
    r_0, r_1 = (lam[0] - lam[1]) / h, (lam[1] - lam[2]) / h
    d_0, d_1, d_2 = np.eye(3)
    first, earlier = (d_0 - d_1) / r_0, (d_1 - d_2) / r_1
    difference = (first - earlier) / (r_0 + r_1)
    second = difference if published else 2 * difference
    return (p_1 * d_0 - p_2 * (first + r_0 * difference) + p_3 * second).tolist()
