"""scipy's adaptive ODE integrators on the probability flow, one sample at a time."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.process.noise import Noise
from sde_diffusion.solvers.adaptive.report import Allowance
from sde_diffusion.solvers.base import BlackBox, finite
from sde_diffusion.solvers.step import Ask
from sde_diffusion.system.ranges import OneOf, Within

# Evaluations of a sample, and Jacobians of methods that ask for them.
MOST, JACOBIANS = 20_000, 100
IMPLICIT = ("LSODA", "Radau", "BDF")
METHODS = ("RK45", "RK23", "DOP853", "LSODA", "Radau", "BDF")


class SciPy(BlackBox):
    """dy/du = y - D(y, e^u), y = x / alpha, u = log(sigma / alpha), by ``scipy.solve_ivp``.

    Each sample is integrated by itself: one error norm for a batch would let its stiffest sample
    set everybody's steps, and a sample depend on its neighbours. The state is float64.

    scipy keeps the state on the CPU.

    Virtanen et al., doi:10.1038/s41592-019-0686-2.

    Args:
        method: a method of solve_ivp. ``Radau``, ``BDF`` and ``LSODA`` may ask for a Jacobian, by
            as many evaluations as a sample has pixels; all are counted.
        rtol, atol: its local tolerances.
    """

    papers = ("doi:10.1038/s41592-019-0686-2",)
    on_cpu = True

    def __init__(
        self,
        method: Annotated[str, OneOf(*METHODS)] = "RK45",
        rtol: Annotated[float, Within("1e-13 <= rtol <= 10")] = 1e-4,
        atol: Annotated[float, Within("1e-13 <= atol <= 10")] = 1e-4,
    ) -> None:
        self.method, self.rtol, self.atol = method, rtol, atol

    def integrate(self, ask: Ask, x: Tensor, times: Tensor, noise: Noise) -> Tensor:
        sde = ask.sde
        span = [float(sde.noise_level(times[i]).log()) for i in (0, -1)]
        done = [
            self._one(ask.rows(slice(k, k + 1)), x[k : k + 1], times[0], span)
            for k in range(len(x))
        ]
        return torch.cat(done) * sde.alpha(times[-1])

    def _one(self, ask: Ask, x: Tensor, start: Tensor, span: list[float]) -> Tensor:
        key = f"solver.rtol={self.rtol}, solver.atol={self.atol}"
        # A Jacobian is an evaluation a pixel.
        allowance = Allowance(MOST + JACOBIANS * x.numel() * (self.method in IMPLICIT), key)

        def slope(u: float, flat: np.ndarray) -> np.ndarray:
            allowance.spend()
            y = torch.from_numpy(flat).reshape(x.shape).to(x)
            level = torch.tensor(u, dtype=torch.float64).exp().clamp(low, high)
            denoised = finite(ask.denoiser(y, level, ask.cond), level)
            return flat - denoised.double().numpy().ravel()

        low, high = (torch.tensor(u, dtype=torch.float64).exp() for u in reversed(span))
        y = (x / ask.sde.alpha(start)).double().numpy().ravel()
        solution = solve_ivp(slope, span, y, method=self.method, rtol=self.rtol, atol=self.atol)
        if not solution.success:
            raise InputError(f"solver=scipy: {solution.message}; loosen solver.rtol")
        return torch.from_numpy(solution.y[:, -1].copy()).reshape(x.shape).to(x)
