"""CFG++: steps that go on with the noise of the empty side (arXiv:2406.08070)."""

from __future__ import annotations

from typing import Annotated, Any, final

from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.solvers.base import StepSolver
from sde_diffusion.solvers.guided.guided_solver import Answer, GuidedSolver
from sde_diffusion.solvers.step import Step
from sde_diffusion.system.ranges import Within


@final
class CFGpp(GuidedSolver[None]):
    """y_s = D + r_s n_u, D = D_u + scale (D_c - D_u), n_u = (y - D_u) / r_t, over DDIM.

    y = x / alpha, r = sigma / alpha. That is classifier-free guidance of scale / (1 - r_s / r_t):
    asked so, any solver of one step is its inner one, and over DDIM the step is the published one.
    The push of a step does not shrink with the step, so what it ends at depends on how many there
    are: it has no limit, and aims at no law.

    Chung et al., arXiv:2406.08070.

    Args:
        inner: a deterministic solver without memory of earlier steps.
        scale: lambda of the paper, 0 .. 1: 1 moves all the way to D_c in each step.
    """

    papers: tuple[str, ...] = ("2406.08070",)

    def __init__(
        self,
        inner: StepSolver[Any],
        scale: Annotated[float, Within("-1000 <= scale <= 1000")] = 0.6,
    ) -> None:
        super().__init__(self.of_one_step(inner))
        self.scale = scale

    def memory(self) -> None:
        return None

    def answer(self, inner: Denoiser, step: Step, memory: None) -> _Moved:
        return _Moved(inner, step, self)


@final
class _Moved(Answer[None]):
    """The empty side's answer, led towards the condition by what the step leaves to be led."""

    def __init__(self, inner: Denoiser, step: Step, solver: CFGpp) -> None:
        super().__init__(inner, step, None, "cfgpp")
        self.scale = solver.scale / (1 - step.b.noise_level / step.a.noise_level)

    def forward(self, x: Tensor, sigma: Tensor, cond: Condition | None = None) -> Tensor:
        conditional, empty = self.sides(x, sigma, cond)
        return empty + self.scale * (conditional - empty)
