"""An SDE with additive noise in the form that torchsde asks for."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


class TorchSDEProblem:
    """dy = drift(u, y) du + diffusion(u) dW, y [N, d], diffusion one number.

    torchsde asks for the drift again where it already has it (its checks, and SRK's stages): the
    last answer is kept, so that an evaluation is spent once.
    """

    noise_type = "additive"
    sde_type = "ito"

    def __init__(
        self, drift: Callable[[Tensor, Tensor], Tensor], diffusion: Callable[[Tensor], Tensor]
    ) -> None:
        self.drift, self.diffusion = drift, diffusion
        self.last: tuple[float, Tensor, Tensor] | None = None

    def f(self, u: Tensor, y: Tensor) -> Tensor:
        """Drift [N, d]."""
        if self.last is not None and self.last[0] == float(u) and self.last[1] is y:
            return self.last[2]
        self.last = (float(u), y, self.drift(u, y))
        return self.last[2]

    def g_prod(self, u: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Diffusion times v [N, d]: additive, the same for every coordinate."""
        return self.diffusion(u).to(y.dtype) * v
