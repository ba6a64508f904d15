"""Denoising diffusion restoration models (Kawar et al. 2022, arXiv:2201.11793)."""

from __future__ import annotations

import torch
from torch import Tensor

from sde_diffusion.operators.base import Operator
from sde_diffusion.operators.measurement import Measured
from sde_diffusion.solvers.posterior.base import Move, OneCall, within


class DDRM(OneCall):
    """Each singular direction by itself: the measurement where it is less noisy than r_s.

    With nu = noise / s, u = s^-1 U^T y and D, y, z in the coordinates V (eq. 7 and 8):

        s = 0:       D + sqrt(1 - eta^2) r_s / r (y - D) + eta r_s z
        nu > r_s:    D + sqrt(1 - eta^2) r_s / nu (u - D) + eta r_s z
        nu <= r_s:   (1 - eta_b) D + eta_b u + sqrt(r_s^2 - eta_b^2 nu^2) z

    It starts at the prior, where the paper adds u: the same to u / r.

    Its draws are too close together: D stands where x_0 given y would be drawn, so a step loses
    (1 - sqrt(1 - eta^2) r_s / r)^2 of the variance of x_0 given y. At eta = 0 that vanishes with
    the length of a step where s = 0; at eta > 0 it stays, and is lost more often in more steps.

    Kawar et al., arXiv:2201.11793.

    Args:
        operator: linear, with singular values. eta, eta_b: as published.
    """

    papers = ("2201.11793",)

    def __init__(self, operator: Operator, eta: float = 0.85, eta_b: float = 1.0) -> None:
        self.operator = operator
        self.eta, self.eta_b = within("eta", eta, 0, 1), within("eta_b", eta_b, 0, 1)

    def move(self, measured: Measured, move: Move) -> Tensor:
        spectrum, s = measured.spectral(self.method)
        stay = (1 - self.eta**2) ** 0.5
        free = move.denoised + stay * move.r_s / move.r * (move.y - move.denoised)
        free = free + self.eta * move.r_s * move.z
        inverse = torch.where(s > 0, 1 / s.clamp_min(1e-30), 0)
        u, nu = inverse * spectrum.data(measured.y), inverse * measured.noise
        d, z = spectrum.analysis(move.denoised), spectrum.analysis(move.z)
        noisy = d + stay * move.r_s / nu.clamp_min(1e-30) * (u - d) + self.eta * move.r_s * z
        spread = (move.r_s**2 - (self.eta_b * nu).square()).clamp_min(0).sqrt()
        clear = (1 - self.eta_b) * d + self.eta_b * u + spread * z
        measured_part = torch.where(nu > move.r_s, noisy, clear)
        change = torch.where(s > 0, measured_part - spectrum.analysis(free), 0)
        return free + spectrum.synthesis(change)
