"""Where a sample stopped being a number: looked for by a second run, once it is known that it did.

Nothing in a step reads the device, so the first run cannot tell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.denoisers.wrapper import Wrapper
from sde_diffusion.errors import DivergedError
from sde_diffusion.process.sde import Marginal
from sde_diffusion.solvers.base import Observer, Solver

Again = Callable[[Denoiser, Observer], Tensor]


@final
class Watched(Wrapper):
    """``inner``, whose first answer that is not finite ends the run."""

    def __init__(self, inner: Denoiser) -> None:
        super().__init__(inner)
        self.calls = 0

    def forward(self, x: Tensor, sigma: Tensor, cond: Condition | None = None) -> Tensor:
        self.calls += 1
        answer = self.inner(x, sigma, cond)
        if bool(x.isfinite().all()) and not bool(answer.isfinite().all()):
            raise DivergedError(
                f"denoiser: its answer at noise level {float(sigma.max()):.4g}, call {self.calls}, "
                "is not finite; check the model's weights and its dtype"
            )
        return answer


def diverged(wrong: int, n: int, solver: Solver, denoiser: Denoiser, again: Again) -> DivergedError:
    """What to say of ``wrong`` samples of ``n`` that are not finite.

    Args:
        again: runs one of them, or its batch, with another denoiser and an observer.
    """
    watched, step = Watched(denoiser), 0

    def observe(at: Marginal, x: Tensor) -> None:
        nonlocal step
        if not bool(x.isfinite().all()):
            raise DivergedError(
                f"at step {step}, noise level {at.noise_level:.4g}, though every answer of the "
                "denoiser is finite; give solver=ddim, or dtype=float64"
            )
        step += 1

    reason = "at the end alone; give dtype=float64"
    try:
        again(watched, observe)
    except DivergedError as error:
        reason = str(error)
    return DivergedError(
        f"solver={type(solver).__name__}: {wrong} of {n} samples are not finite: {reason}"
    )
