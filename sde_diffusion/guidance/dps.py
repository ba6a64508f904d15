"""Diffusion posterior sampling (Chung et al. 2023, arXiv:2209.14687)."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.guidance.likelihood import LikelihoodGuidance
from sde_diffusion.operators.base import Operator
from sde_diffusion.operators.measurement import Measured

# DDPM's steps, 1 - alpha_i (arXiv:2006.11239): the published method moves once in each.
BETAS = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
_ALPHA_BARS = (1 - BETAS).cumprod(0)
LEVELS = ((1 - _ALPHA_BARS) / _ALPHA_BARS).sqrt()


@final
class DPS(LikelihoodGuidance):
    """D_y = D - scale w(sigma) sigma^2 grad_x |y - A(D(x))|, w = sqrt(1 - beta) / beta.

    beta is DDPM's at the noise level: on its 1000 steps, ancestral, this is the published move by
    ``scale`` times the gradient of the norm after each step. With fewer steps each is longer; a
    scale of about nfe / 1000 keeps the move of a step as published. One backward pass a call; any
    operator, linear or not; not a posterior for any scale.

    Chung et al., arXiv:2209.14687.

    Args:
        operator: A and its noise. scale: the published zeta' of the code, 0.3 to 1.
    """

    def __init__(self, operator: Operator, scale: float = 1.0) -> None:
        if not 0 < scale < float("inf"):
            raise InputError(f"guidance.dps.scale={scale}: give a number > 0")
        self.operator, self.scale = operator, scale

    def move(self, measured: Measured, x: Tensor, answer: Tensor, sigma: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(measured.residual(answer).flatten(1), dim=1)
        (gradient,) = torch.autograd.grad(norm.sum(), x)
        beta = published_beta(sigma.to(torch.float64))
        weight = self.scale * (1 - beta).sqrt() / beta * sigma.to(beta).square()
        return -weight.to(x) * gradient


def published_beta(sigma: Tensor) -> Tensor:
    """DDPM's beta at a noise level sigma / alpha, log-linear between its steps, float64."""
    levels, betas = (v.log().to(sigma.device) for v in (LEVELS, BETAS))
    at = sigma.log()
    right = torch.bucketize(at, levels).clamp(1, len(levels) - 1)
    low, high = levels[right - 1], levels[right]
    share = ((at - low) / (high - low)).clamp(0, 1)
    return (betas[right - 1] + share * (betas[right] - betas[right - 1])).exp()
