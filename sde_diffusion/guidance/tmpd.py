"""Tweedie moment projected diffusion (Boys et al. 2024, arXiv:2310.06721)."""

from __future__ import annotations

from typing import final

from torch import Tensor

from sde_diffusion.guidance.likelihood import LikelihoodGuidance, vjp
from sde_diffusion.operators.base import Operator
from sde_diffusion.operators.measurement import Measured


@final
class TMPD(LikelihoodGuidance):
    """D_y = D + sigma^2 J^T A^T C^-1 (y - A D), C = diag(A sigma^2 J^T A^T 1) + noise^2 I.

    C is the diagonal, by its rows' sums, of A V A^T + noise^2 I with Tweedie's covariance
    V = sigma^2 J of x_0 given x. Where measured pixels depend on each other inversely the sums turn
    negative, are cut at 0, and the move is too long: it diverges on masks and blurs of digits
    (benchmarks/posteriors.md). Linear operators; two backward passes a call.

    Boys et al., arXiv:2310.06721.

    Args:
        operator: A and its noise.
    """

    def __init__(self, operator: Operator) -> None:
        self.operator = operator

    def move(self, measured: Measured, x: Tensor, answer: Tensor, sigma: Tensor) -> Tensor:
        linear, square = measured.linear(self.method), sigma.to(x).square()
        residual = measured.residual(answer.detach())
        ones = linear.filled(residual.new_ones(residual.shape))
        total = linear.forward(square * vjp(answer, x, linear.adjoint(ones)))
        total = total.clamp_min(0) + max(measured.noise**2, 1e-12)
        return square * vjp(answer, x, linear.adjoint(residual / total))
