"""torchsde's adaptive integrators on the reverse SDE, one sample at a time."""

from __future__ import annotations

import warnings
from typing import Annotated

import torch
import torchsde
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.process.noise import Noise
from sde_diffusion.solvers.adaptive.report import Allowance
from sde_diffusion.solvers.base import BlackBox, finite
from sde_diffusion.solvers.step import Ask
from sde_diffusion.solvers.torchsde_problem import TorchSDEProblem
from sde_diffusion.system.ranges import OneOf, Within

METHODS = ("srk", "euler", "milstein")


class TorchSDEAdaptive(BlackBox):
    """dy = (1 + eta^2) (D - y) dv + eta sqrt(2) e^-v dw, y = x / alpha, v = log(alpha / sigma).

    ``torchsde.sdeint`` halves its steps to hold a local error. Each sample is integrated by itself
    along a Brownian path of its own: one error norm for a batch would let a sample depend on its
    neighbours. The path is torchsde's, which draws other numbers on another device: hence the CPU
    alone.

    Li et al., arXiv:2001.01328.

    Args:
        method: ``srk``, ``euler`` or ``milstein``.
        rtol, atol: local tolerances, of a path.
        eta: 1 is the reverse SDE; solver=dopri takes no noise.
    """

    papers = ("2001.01328",)
    stochastic = True
    on_cpu = True
    most = 4_000  # evaluations of a sample: ``srk`` takes 1,200 at tolerances of 1e-4

    def __init__(
        self,
        method: Annotated[str, OneOf(*METHODS)] = "srk",
        rtol: Annotated[float, Within("1e-6 <= rtol <= 10")] = 0.02,
        atol: Annotated[float, Within("1e-6 <= atol <= 10")] = 0.02,
        eta: Annotated[float, Within("0.01 <= eta <= 4")] = 1.0,
    ) -> None:
        self.method, self.rtol, self.atol, self.eta = method, rtol, atol, eta

    def integrate(self, ask: Ask, x: Tensor, times: Tensor, noise: Noise) -> Tensor:
        sde = ask.sde
        y = (x / sde.alpha(times[0])).double()
        ends = sde.lam(times[[0, -1]])
        done = [
            self._one(ask.rows(slice(k, k + 1)), y[k : k + 1], ends, entropy, x.dtype)
            for k, entropy in enumerate(noise.entropy())
        ]
        return (sde.alpha(times[-1]) * torch.cat(done)).to(x.dtype)

    def _one(self, ask: Ask, y: Tensor, ends: Tensor, entropy: int, dtype: torch.dtype) -> Tensor:
        key = f"solver.rtol={self.rtol}, solver.atol={self.atol}"
        allowance = Allowance(self.most, key)

        def drift(v: Tensor, flat: Tensor) -> Tensor:
            allowance.spend()
            y_v = flat.reshape(y.shape)
            level = torch.exp(-v.clamp(ends[0], ends[1]))
            denoised = finite(ask.denoiser(y_v.to(dtype), level, ask.cond), level)
            return (1 + self.eta**2) * (denoised.double() - y_v).flatten(1)

        def diffusion(v: Tensor) -> Tensor:
            return self.eta * 2**0.5 * torch.exp(-v)

        flat = y.flatten(1)
        path = torchsde.BrownianInterval(
            ends[0],
            ends[1],
            size=tuple(flat.shape),
            dtype=y.dtype,
            device="cpu",
            entropy=entropy,
            levy_area_approximation="space-time",
        )
        try:
            with warnings.catch_warnings():
                # torchsde would go on with a step that its error estimate refuses.
                warnings.filterwarnings("error", "Hitting minimum", UserWarning)
                states = torchsde.sdeint(
                    TorchSDEProblem(drift, diffusion),
                    flat,
                    ends,
                    bm=path,
                    method=self.method,
                    dt=0.05,
                    adaptive=True,
                    rtol=self.rtol,
                    atol=self.atol,
                )
        except UserWarning as error:
            raise InputError(f"{key}: the step vanished; loosen them") from error
        return states[-1].reshape(y.shape)
