"""Denoising diffusion null-space model, with noise (Wang et al. 2023, arXiv:2212.00490)."""

from __future__ import annotations

import torch
from torch import Tensor

from sde_diffusion.operators.base import Operator
from sde_diffusion.operators.measurement import Measured
from sde_diffusion.solvers.posterior.base import Move, OneCall, within


class DDNM(OneCall):
    """D - V l V^T A^+ (A D - y), then DDIM(eta) with less noise where y brings its own (DDNM+).

    a = 1 - sqrt(r_s^2 - tau^2) / r is what the step takes of x_0, tau its noise; in each singular
    direction l = min(1, tau s / (a noise)), and noise of variance tau^2 - (a l noise / s)^2 is
    added (eq. 17 to 20).

    Wang et al., arXiv:2212.00490.

    Args:
        operator: linear, with singular values. eta: of DDIM; 0.85 as published.
    """

    papers = ("2212.00490",)

    def __init__(self, operator: Operator, eta: float = 0.85) -> None:
        self.operator, self.eta = operator, within("eta", eta, 0, 1)

    def move(self, measured: Measured, move: Move) -> Tensor:
        spectrum, s = measured.spectral(self.method)
        mean, tau = move.ancestral(self.eta)
        share = 1 - max(0.0, move.r_s**2 - tau**2) ** 0.5 / move.r
        inverse = torch.where(s > 0, 1 / s.clamp_min(1e-30), 0)
        nu = share * measured.noise * inverse
        taken = torch.where(nu > tau, tau / nu.clamp_min(1e-30), 1.0) if tau else (nu == 0).to(nu)
        error = spectrum.data(measured.residual(move.denoised))
        spread = (tau**2 - (taken * nu).square()).clamp_min(0).sqrt()
        change = share * taken * inverse * error
        change = change + (spread - tau) * spectrum.analysis(move.z)
        return mean + tau * move.z + spectrum.synthesis(torch.where(s > 0, change, 0))
