"""DPM-Solver++(3M): third-order multistep formula in the half log-SNR."""

from __future__ import annotations

import torch
from torch import Tensor

from sde_diffusion.noise import Noise
from sde_diffusion.reverse import Reverse
from sde_diffusion.solvers.base import StepSolver
from sde_diffusion.solvers.history import History


class DPMpp3M(StepSolver[History]):
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

    order = 2

    def __init__(self, published: bool = True, lower_order_final: bool = False) -> None:
        self.published = published
        self.lower_order_final = lower_order_final

    def init(self, reverse: Reverse, x: Tensor, times: Tensor) -> History:
        return History.start(times)

    def step(
        self, reverse: Reverse, x: Tensor, t: Tensor, s: Tensor, state: History | None, noise: Noise
    ) -> tuple[Tensor, History]:
        assert state is not None
        sde = reverse.sde
        history = state.push(reverse.denoise(x, t), sde.lam(t), keep=3)
        h = sde.lam(s) - history.lam[0]
        used = min(len(history.lam), state.left if self.lower_order_final else 3)
        p_1 = torch.expm1(-h)
        p_2 = p_1 / h + 1
        change = p_1 * history.values[0]
        if used > 1:
            r_0 = (history.lam[0] - history.lam[1]) / h
            first = (history.values[0] - history.values[1]) / r_0
            if used == 2:
                # The two-point formula, as in 2M.
                change = change + 0.5 * p_1 * first
            else:
                r_1 = (history.lam[1] - history.lam[2]) / h
                earlier = (history.values[1] - history.values[2]) / r_1
                difference = (first - earlier) / (r_0 + r_1)
                second = difference if self.published else 2 * difference
                first = first + r_0 * difference
                change = change - p_2 * first + (p_2 / h - 0.5) * second
        x_s = sde.sigma(s) / sde.sigma(t) * x - sde.alpha(s) * change
        return x_s, history.advance()
