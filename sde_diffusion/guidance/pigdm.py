"""Pseudoinverse-guided diffusion (Song et al. 2023, ICLR, openreview 9_gsMA8MRKQ)."""

from __future__ import annotations

from typing import final

from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.guidance.likelihood import LikelihoodGuidance, vjp
from sde_diffusion.operators.base import Operator
from sde_diffusion.operators.measurement import Measured


@final
class PiGDM(LikelihoodGuidance):
    """D_y = D + sigma^2 J^T A^T (v A A^T + noise^2 I)^-1 (y - A D), 1/v = 1/sigma^2 + 1/s.

    v is the covariance of x_0 given x, were the data N(0, s I): exact there, too wide where pixels
    depend on each other. The paper's factor on the step is left at 1, which makes this the score of
    its likelihood. Linear operators; one backward pass a call.

    Song et al., ICLR 2023, openreview 9_gsMA8MRKQ.

    Args:
        operator: A and its noise. variance: s, of the data.
    """

    def __init__(self, operator: Operator, variance: float = 1.0) -> None:
        if not 0 < variance < float("inf"):
            raise InputError(f"guidance.pigdm.variance={variance}: give a number > 0")
        self.operator, self.variance = operator, variance

    def move(self, measured: Measured, x: Tensor, answer: Tensor, sigma: Tensor) -> Tensor:
        square = sigma.to(x).square()
        v = square * self.variance / (square + self.variance)
        linear = measured.linear(self.method)
        pulled = linear.pull(
            measured.residual(answer.detach()), v.flatten() if v.ndim else v, measured.noise**2
        )
        return square * vjp(answer, x, pulled)
