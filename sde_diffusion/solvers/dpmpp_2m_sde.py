"""SDE-DPM-Solver++(2M): second-order multistep for the reverse SDE."""

from __future__ import annotations

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.noise import Noise
from sde_diffusion.reverse import Reverse
from sde_diffusion.solvers.base import StepSolver
from sde_diffusion.solvers.history import History


class DPMpp2MSDE(StepSolver[History]):
    """x_s = sigma_s / sigma_t e^(-eta^2 h) x_t - alpha_s E D' + sigma_s sqrt(1 - e^(-2 eta^2 h)) z.

    E = expm1(-(1 + eta^2) h), D' = (1 + 1/2r) D_i - 1/2r D_{i-1}, h = lam_s - lam_t,
    r = h_{i-1} / h (DPM-Solver++, arXiv:2211.01095, section 5, for any share of noise). The first
    step is of first order.

    Args:
        eta: >= 0; 1 is the reverse SDE, 0 is DPM-Solver++(2M).
    """

    order = 2

    def __init__(self, eta: float = 1.0) -> None:
        if not eta >= 0:
            raise InputError(f"solver.eta={eta}: give a number >= 0")
        self.eta = eta
        self.stochastic = eta > 0

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
        if len(history.lam) > 1:
            r = (history.lam[0] - history.lam[1]) / h
            denoised = denoised + (denoised - history.values[1]) / (2 * r)
        extra = self.eta**2 * h
        x_s = sde.sigma(s) / sde.sigma(t) * torch.exp(-extra) * x
        x_s = x_s - sde.alpha(s) * torch.expm1(-h - extra) * denoised
        if self.stochastic:
            up = sde.sigma(s) * (-torch.expm1(-2 * extra)).sqrt()
            x_s = x_s + up * noise.normal(t, s)
        return x_s, history
