"""Exponential moving average of weights with a power-function profile."""

from __future__ import annotations

import copy

import torch
from scipy.optimize import brentq
from torch import nn

from sde_diffusion.errors import InputError


def gamma_of(sigma_rel: float) -> float:
    """The exponent gamma of a profile of relative width ``sigma_rel`` (EDM2, eq. 126)."""
    if not 1e-3 <= sigma_rel <= 0.28:
        raise InputError(f"sigma_rel={sigma_rel}: give a width between 0.001 and 0.28")
    return float(brentq(lambda g: (g + 1) ** 0.5 / (g + 2) / (g + 3) ** 0.5 - sigma_rel, 0.0, 1e6))


class PowerEMA:
    """theta_ema <- beta_t theta_ema + (1 - beta_t) theta, beta_t = (1 - 1/t)^(gamma + 1).

    The profile grows with training, so its width is a fixed share ``sigma_rel`` of the steps
    taken so far and no warm-up is needed (EDM2, arXiv:2312.02696, eq. 121 to 127). Buffers
    (running statistics, say) are copied, not averaged.
    """

    def __init__(self, network: nn.Module, sigma_rel: float = 0.08) -> None:
        self.gamma = gamma_of(sigma_rel)
        self.network = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Fold in the weights after optimizer step ``step`` (1, 2, ...)."""
        share = 1 - (1 - 1 / step) ** (self.gamma + 1)
        for mean, value in zip(self.network.parameters(), network.parameters(), strict=True):
            mean.lerp_(value, share)
        for copy_of, buffer in zip(self.network.buffers(), network.buffers(), strict=True):
            copy_of.copy_(buffer)
