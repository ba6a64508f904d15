"""Adaptive projected guidance with its momentum (APG, arXiv:2410.02416)."""

from __future__ import annotations

from typing import Annotated, Any, final

from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.guidance.projected import projected
from sde_diffusion.solvers.base import StepSolver
from sde_diffusion.solvers.guided.guided_solver import Answer, GuidedSolver
from sde_diffusion.solvers.step import Step
from sde_diffusion.system.ranges import Within


@final
class APGMomentum(GuidedSolver[Tensor | None]):
    """guidance=apg of g = D(x, c) - D(x, empty) + momentum g_before, over any solver.

    g_before is that of the call before, none at the first one: a negative momentum pushes against
    what the calls have in common. momentum = 0 is ``guidance=apg``. It aims at no law.

    Sadat et al., arXiv:2410.02416.

    Args:
        inner: a solver of fixed steps.
        scale, parallel, radius: as of guidance=apg.
        momentum: beta of the paper.
    """

    papers: tuple[str, ...] = ("2410.02416",)
    typed = "apg_momentum"

    def __init__(
        self,
        inner: StepSolver[Any],
        scale: Annotated[float, Within("-1000 <= scale <= 1000")] = 1.5,
        momentum: Annotated[float, Within("-1 < momentum < 1")] = -0.5,
        parallel: Annotated[float, Within("-1000 <= parallel <= 1000")] = 0.0,
        radius: Annotated[float, Within("0 <= radius <= 1e9")] = 0.0,
    ) -> None:
        super().__init__(inner)
        self.scale, self.momentum, self.parallel, self.radius = scale, momentum, parallel, radius

    def memory(self) -> None:
        return None

    def answer(self, inner: Denoiser, step: Step, memory: Tensor | None) -> _Projected:
        return _Projected(inner, step, memory, self)


@final
class _Projected(Answer[Tensor | None]):
    """D(x, c) and a projected step; ``memory`` is g of the last call [N, *shape]."""

    def __init__(
        self, inner: Denoiser, step: Step, memory: Tensor | None, solver: APGMomentum
    ) -> None:
        super().__init__(inner, step, memory, "apg_momentum")
        self.solver = solver

    def forward(self, x: Tensor, sigma: Tensor, cond: Condition | None = None) -> Tensor:
        conditional, empty = self.sides(x, sigma, cond)
        g, by = conditional - empty, self.solver
        if self.memory is not None:
            g = g + by.momentum * self.memory
        self.memory = g
        return conditional + (by.scale - 1) * projected(g, conditional, by.parallel, by.radius)
