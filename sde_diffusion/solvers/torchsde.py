"""torchsde's integrators on the reverse SDE, one of their steps for each step of the grid."""

from __future__ import annotations

from typing import Annotated

import torch
import torchsde
from torch import Tensor

from sde_diffusion.process.noise import Noise
from sde_diffusion.solvers.base import StepSolver
from sde_diffusion.solvers.step import Ask, Step
from sde_diffusion.solvers.torchsde_problem import TorchSDEProblem
from sde_diffusion.system.ranges import OneOf, Within

# Calls of the drift in one step of each method, for additive noise.
EVALUATIONS = {"euler": 1, "milstein": 1, "srk": 2}


class TorchSDE(StepSolver[None]):
    """dx = drift_eta(x, t) dt + eta g(t) dw from t down to s, by ``torchsde.sdeint``.

    torchsde wants flat states and increasing times: a step is integrated in (t - time) / (t - s).
    The noise is additive, so ``euler`` and ``milstein`` agree. With fixed steps and one Brownian
    increment a sample, no sample depends on its batch. The last step, whose noise is left out, is
    the mean of the step at order 1; ``srk`` follows the flow there (eta = 0), to keep its order.

    Li et al., arXiv:2001.01328.

    Args:
        method: ``euler``, ``milstein`` or ``srk`` (SRA1, strong order 1.5).
        eta: >= 0; 1 is the reverse SDE, 0 the probability flow.
    """

    papers = ("2001.01328",)
    covariant = False

    def __init__(
        self,
        method: Annotated[str, OneOf(*EVALUATIONS)] = "euler",
        eta: Annotated[float, Within("0 <= eta <= 4")] = 1.0,
    ) -> None:
        self.method, self.eta = method, eta
        self.evaluations = EVALUATIONS[method]
        self.order = 2 if method == "srk" else 1
        self.stochastic = eta > 0

    def step(
        self, ask: Ask, x: Tensor, step: Step, state: None, noise: Noise
    ) -> tuple[Tensor, None]:
        a, b = step.a, step.b
        span = a.t - b.t
        eta = 0.0 if self.flows(step) else self.eta

        def drift(u: Tensor, flat: Tensor) -> Tensor:
            at = ask.at(a.t - float(u) * span)
            return (-span * ask.drift(flat.reshape(x.shape), at, eta)).flatten(1)

        def diffusion(u: Tensor) -> Tensor:
            t = torch.tensor(a.t - float(u) * span, dtype=torch.float64)
            return eta * (ask.sde.g2(t) * span).sqrt()

        # torchsde runs its times in the state's dtype: a unit interval keeps them exact. On the
        # host they are plain numbers to the device.
        ends = torch.tensor([0.0, 1.0], dtype=x.dtype)
        drawn = self.stochastic and not step.last
        path = Increment(noise if drawn else None, x, a.t, b.t)
        flat = torchsde.sdeint(
            TorchSDEProblem(drift, diffusion),
            x.flatten(1),
            ends,
            bm=path,
            method=self.method,
            dt=1.0,
        )
        return flat[-1].reshape(x.shape), None


class Increment(torchsde.BaseBrownian):
    """The Brownian increment of one step over the unit interval; zero without noise."""

    levy_area_approximation = "space-time"

    def __init__(self, noise: Noise | None, x: Tensor, t: float, s: float) -> None:
        super().__init__()
        self.noise, self.like, self.ends = noise, x.flatten(1), (t, s)

    def __call__(
        self, ta: Tensor, tb: Tensor, return_U: bool = False, return_A: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """W(1), and with ``return_U`` also the integral of W: two halves of the step give both."""
        t, s = self.ends
        m = 0.5 * (t + s)
        if not return_U:
            return self._normal(t, s)
        first, second = self._normal(t, m), self._normal(m, s)
        # The integral is W / 2 + N(0, 1/12), independent of W, as first - second is.
        w = (first + second) / 2**0.5
        return w, 0.5 * w + (first - second) / 24**0.5

    def _normal(self, t: float, s: float) -> Tensor:
        if self.noise is None:
            return torch.zeros_like(self.like)
        return self.noise.normal(t, s).flatten(1)

    def __repr__(self) -> str:
        return f"Increment({tuple(self.shape)})"

    @property
    def dtype(self) -> torch.dtype:
        return self.like.dtype

    @property
    def device(self) -> torch.device:
        return self.like.device

    @property
    def shape(self) -> torch.Size:
        return self.like.shape

    def size(self) -> torch.Size:
        return self.shape
