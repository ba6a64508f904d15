"""What guidance by a measurement is: D(x) + sigma^2 grad log p(y | x), with D's derivative."""

from __future__ import annotations

from abc import abstractmethod
from typing import final

import torch
from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.guidance.base import Guidance
from sde_diffusion.operators.base import Operator
from sde_diffusion.operators.measurement import Measured, check_measurement
from sde_diffusion.system.names import name_of


class LikelihoodGuidance(Guidance):
    """D_y = D + sigma^2 J^T w for a w of the residual, J = dD/dx; J is never an array.

    The measurement rides in the condition (``with_measurement``); rows without one are not guided.
    A subclass keeps ``operator`` and writes ``move``.
    """

    invertible = False
    operator: Operator

    @property
    def method(self) -> str:
        return f"guidance={name_of(type(self)).lower()}"

    def check_condition(self, cond: Condition | None) -> None:
        check_measurement(cond, self.method)

    @final
    def __call__(self, inner: Denoiser, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
        measured = Measured.read(self.operator, cond, x, self.method)
        level = sigma if sigma.ndim == 0 else sigma.to(x).reshape(-1, *[1] * (x.ndim - 1))
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            answer = inner(x, sigma, cond)
            move = self.move(measured, x, answer, level)
        return (answer + move).detach()

    @abstractmethod
    def move(self, measured: Measured, x: Tensor, answer: Tensor, sigma: Tensor) -> Tensor:
        """What is added to D [N, *shape].

        Args:
            x: [N, *shape], with a gradient. answer: D(x) [N, *shape], which depends on it.
            sigma: 0-dim, or [N, 1, ...].
        """


def vjp(answer: Tensor, x: Tensor, w: Tensor) -> Tensor:
    """J^T w [N, *shape] of answer = D(x), one backward pass; another may follow."""
    return torch.autograd.grad(answer, x, w, retain_graph=True)[0]
