"""Moment matching posterior sampling (Rozet et al. 2024, arXiv:2405.13712)."""

from __future__ import annotations

from typing import final

from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.guidance.likelihood import LikelihoodGuidance, vjp
from sde_diffusion.operators.base import Operator
from sde_diffusion.operators.measurement import Measured
from sde_diffusion.operators.spectrum import conjugate_gradients


@final
class MMPS(LikelihoodGuidance):
    """D_y = D + V A^T (A V A^T + noise^2 I)^-1 (y - A D), V = sigma^2 J, by conjugate gradients.

    V is the covariance of x_0 given x (Tweedie's second moment), so a Gaussian prior is answered
    exactly, at any noise. Each iteration is a backward pass; linear operators.

    Rozet et al., arXiv:2405.13712.

    Args:
        operator: A and its noise. iterations: of conjugate gradients.
    """

    def __init__(self, operator: Operator, iterations: int = 5) -> None:
        if not 1 <= iterations <= 1000:
            raise InputError(
                f"guidance.mmps.iterations={iterations}: give a whole number, 1 .. 1000"
            )
        self.operator, self.iterations = operator, iterations

    def move(self, measured: Measured, x: Tensor, answer: Tensor, sigma: Tensor) -> Tensor:
        linear, square = measured.linear(self.method), sigma.to(x).square()

        def covariance(w: Tensor) -> Tensor:
            return square * vjp(answer, x, linear.adjoint(w))

        def matrix(w: Tensor) -> Tensor:
            return linear.filled(linear.forward(covariance(w))) + measured.noise**2 * w

        residual = measured.residual(answer.detach())
        return covariance(conjugate_gradients(matrix, residual, self.iterations))
