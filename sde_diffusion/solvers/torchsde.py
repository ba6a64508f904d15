"""torchsde's integrators on the reverse SDE, one of their steps for each step of the grid."""

from __future__ import annotations

import torch
import torchsde
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.noise import Noise
from sde_diffusion.reverse import Reverse
from sde_diffusion.solvers.base import StepSolver

# Calls of the drift in one step of each method.
EVALUATIONS = {"euler": 1, "milstein": 1, "srk": 2}


class TorchSDE(StepSolver[None]):
    """dx = drift_1(x, t) dt + g(t) dw from t down to s, by ``torchsde.sdeint``.

    torchsde wants flat states and increasing times: it integrates in -t. With fixed steps and one
    Brownian increment a sample, no sample depends on its batch.

    Args:
        method: ``euler``, ``milstein`` or ``srk`` (strong order 1.5 for additive noise).
    """

    order = 1
    stochastic = True

    def __init__(self, method: str = "euler") -> None:
        if method not in EVALUATIONS:
            raise InputError(f"solver.method={method}: choose one of {sorted(EVALUATIONS)}")
        self.method = method
        self.evaluations = EVALUATIONS[method]

    def step(
        self, reverse: Reverse, x: Tensor, t: Tensor, s: Tensor, state: None, noise: Noise
    ) -> tuple[Tensor, None]:
        problem = _ReverseProblem(reverse, x.shape)
        path = _Increment(noise, x, t, s)
        # torchsde runs its times in the state's dtype: a unit interval keeps them exact.
        problem.t, problem.span = t, t - s
        ends = torch.tensor([0.0, 1.0], dtype=x.dtype, device=x.device)
        flat = torchsde.sdeint(problem, x.flatten(1), ends, bm=path, method=self.method, dt=1.0)
        return flat[-1].reshape(x.shape), None


class _ReverseProblem:
    """The reverse SDE over one step in u = (t - time) / (t - s), 0 .. 1, as torchsde asks it."""

    noise_type = "diagonal"
    sde_type = "ito"
    t: Tensor
    span: Tensor

    def __init__(self, reverse: Reverse, shape: torch.Size) -> None:
        self.reverse, self.shape = reverse, shape

    def _time(self, u: Tensor) -> Tensor:
        return self.t - u.to(self.t) * self.span

    def f(self, u: Tensor, y: Tensor) -> Tensor:
        x = y.reshape(self.shape)
        return (-self.span * self.reverse.drift(x, self._time(u), 1.0)).flatten(1)

    def g(self, u: Tensor, y: Tensor) -> Tensor:
        size = (self.reverse.sde.g2(self._time(u)) * self.span).sqrt()
        return size.to(y).expand(y.shape)


class _Increment(torchsde.BaseBrownian):  # type: ignore[misc]
    """The Brownian increment of one step, over the unit interval, from a sample's own noise."""

    def __init__(self, noise: Noise, x: Tensor, t: Tensor, s: Tensor) -> None:
        super().__init__()
        self.noise, self.ends = noise, (t, s)
        self._shape, self._dtype, self._device = x.flatten(1).shape, x.dtype, x.device

    def __call__(  # type: ignore[no-untyped-def]
        self, ta, tb=None, return_U: bool = False, return_A: bool = False  # noqa: N803
    ):
        w = self.noise.normal(*self.ends).flatten(1)
        if not return_U:
            return w
        # U = int W du = W / 2 + N(0, 1 / 12) on the unit interval.
        area = self.noise.normal(*self.ends).flatten(1) / 12**0.5
        return w, 0.5 * w + area

    @property
    def levy_area_approximation(self) -> str:
        return "space-time"

    def __repr__(self) -> str:
        return f"_Increment({self._shape})"

    @property
    def dtype(self) -> torch.dtype:
        return self._dtype

    @property
    def device(self) -> torch.device:
        return self._device

    @property
    def shape(self) -> torch.Size:
        return self._shape

    def size(self) -> torch.Size:
        return self._shape
