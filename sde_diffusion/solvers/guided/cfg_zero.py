"""CFG-Zero*: the empty side's velocity at its best length, and first steps that stand still."""

from __future__ import annotations

from typing import Annotated, Any, final

from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.guidance.pair import columns
from sde_diffusion.solvers.base import StepSolver
from sde_diffusion.solvers.guided.guided_solver import Answer, GuidedSolver
from sde_diffusion.solvers.step import Step
from sde_diffusion.system.ranges import Within


@final
class CFGZero(GuidedSolver[None]):
    """v = s v_u + scale (v_c - s v_u), s = <v_c, v_u> / |v_u|^2; v = 0 in ``still`` first steps.

    v = n - x_0 is the velocity of the flow from data to noise, x_t = (1 - t) x_0 + t n, whatever
    the SDE: v = (y - (1 + r) D) / r of y = x / alpha at r = sigma / alpha (arXiv:2503.18886). A
    step that stands still spends no evaluation: D = y / (1 + r). Made for flows that are learned
    badly near the noise; where D is exact it aims at no law.

    Args:
        inner: a deterministic solver without memory of earlier steps; the published one is ddim.
        scale: w of the paper. still: first steps without velocity.
    """

    papers: tuple[str, ...] = ("2503.18886",)
    typed = "cfg_zero"

    def __init__(
        self,
        inner: StepSolver[Any],
        scale: Annotated[float, Within("-1000 <= scale <= 1000")] = 1.5,
        still: Annotated[int, Within("0 <= still <= 1000")] = 1,
    ) -> None:
        super().__init__(self.of_one_step(inner))
        self.scale, self.still = scale, still
        self.saved += still * self.evaluations

    def memory(self) -> None:
        return None

    def answer(self, inner: Denoiser, step: Step, memory: None) -> _Velocity:
        return _Velocity(inner, step, self)


@final
class _Velocity(Answer[None]):
    """D of the guided velocity."""

    def __init__(self, inner: Denoiser, step: Step, solver: CFGZero) -> None:
        super().__init__(inner, step, None, "cfg_zero")
        self.scale, self.stands = solver.scale, step.i < solver.still

    def forward(self, x: Tensor, sigma: Tensor, cond: Condition | None = None) -> Tensor:
        r = float(sigma) if sigma.ndim == 0 else columns(sigma.to(x), x)
        if self.stands:
            return x / (1 + r)
        conditional, empty = self.sides(x, sigma, cond)
        v_c, v_u = ((x - (1 + r) * d) / r for d in (conditional, empty))
        square = v_u.flatten(1).square().sum(1).clamp_min(1e-30)
        s = columns((v_c * v_u).flatten(1).sum(1) / square, x)
        v = s * v_u + self.scale * (v_c - s * v_u)
        return (x - r * v) / (1 + r)
