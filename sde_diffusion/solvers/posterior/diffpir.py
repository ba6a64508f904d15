"""Plug-and-play restoration with a diffusion model (Zhu et al. 2023, arXiv:2305.08995)."""

from __future__ import annotations

import math

from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.operators.base import Operator
from sde_diffusion.operators.measurement import Measured
from sde_diffusion.solvers.posterior.base import Move, OneCall, within


class DiffPIR(OneCall):
    """x_0 = argmin |y - A x|^2 + rho |x - D|^2, then to r_s with a share zeta of new noise.

    rho = lam noise^2 / r^2, and y_s = x_0 + r_s (sqrt(1 - zeta) (y - x_0) / r + sqrt(zeta) z)
    (algorithm 1). lam = 1 takes D for a picture with noise of variance r^2, which is too much.

    Zhu et al., arXiv:2305.08995.

    Args:
        operator: linear. lam: weight of D, published 1 to 25. zeta: 0 .. 1.
    """

    papers = ("2305.08995",)

    def __init__(self, operator: Operator, lam: float = 8.0, zeta: float = 0.3) -> None:
        if not 0 < lam < math.inf:
            raise InputError(f"solver.lam={lam}: give a number > 0")
        self.operator, self.lam, self.zeta = operator, lam, within("zeta", zeta, 0, 1)

    def move(self, measured: Measured, move: Move) -> Tensor:
        rho = self.lam * measured.noise**2 / move.r**2
        linear = measured.linear(self.method)
        x_0 = move.denoised + linear.pull(measured.residual(move.denoised), 1.0, rho)
        kept = math.sqrt(1 - self.zeta) * move.r_s / move.r
        return x_0 + kept * (move.y - x_0) + math.sqrt(self.zeta) * move.r_s * move.z
