"""DPM-Solver++(2M): second-order multistep in the half log-SNR."""

from __future__ import annotations

import torch
from torch import Tensor

from sde_diffusion.noise import Noise
from sde_diffusion.reverse import Reverse
from sde_diffusion.solvers.base import StepSolver
from sde_diffusion.solvers.history import History


class DPMpp2M(StepSolver[History]):
    """x_s = sigma_s / sigma_t x_t - alpha_s expm1(-h) ((1 + 1/2r) D_i - 1/2r D_{i-1}).

    h = lam_s - lam_t, r = h_{i-1} / h (DPM-Solver++, arXiv:2211.01095, algorithm 2). The first step
    is of first order.

    Args:
        lower_order_final: make the last step of first order too (published for few steps).
    """

    order = 2

    def __init__(self, lower_order_final: bool = False) -> None:
        self.lower_order_final = lower_order_final

    def init(self, reverse: Reverse, x: Tensor, times: Tensor) -> History:
        return History.start(times)

    def step(
        self, reverse: Reverse, x: Tensor, t: Tensor, s: Tensor, state: History | None, noise: Noise
    ) -> tuple[Tensor, History]:
        assert state is not None
        sde = reverse.sde
        history = state.push(reverse.denoise(x, t), sde.lam(t), keep=2)
        h = sde.lam(s) - history.lam[0]
        denoised = history.values[0]
        if len(history.lam) > 1 and not (self.lower_order_final and state.left == 1):
            r = (history.lam[0] - history.lam[1]) / h
            denoised = denoised + (denoised - history.values[1]) / (2 * r)
        x_s = sde.sigma(s) / sde.sigma(t) * x - sde.alpha(s) * torch.expm1(-h) * denoised
        return x_s, history.advance()
