"""Multistep consistency sampling: an image, noise of the next level, an image, and so on."""

from __future__ import annotations

import math
from typing import Annotated

from torch import Tensor

from sde_diffusion.process.noise import Noise
from sde_diffusion.solvers.base import StepSolver, linear
from sde_diffusion.solvers.step import Ask, Step
from sde_diffusion.system.ranges import Within


class Consistency(StepSolver[None]):
    """x_s = alpha_s f(x_t, t) + sqrt(sigma_s^2 - (alpha_s epsilon)^2) z; the last step adds no z.

    (Song et al., arXiv:2303.01469, algorithm 1; latents: arXiv:2310.04378.)

    f is a consistency function, whose answer is the end of the path that goes through x_t. With the
    mean of all ends in its place, a denoiser's answer, this draws no law: it is refused.

    Args:
        epsilon: noise level that the answers have, the least that f was trained at.
    """

    papers = ("2303.01469",)
    order = None
    stochastic = True
    asks_ends = "consistency"

    def __init__(self, epsilon: Annotated[float, Within("0 <= epsilon <= 1")] = 0.002) -> None:
        self.epsilon = epsilon

    def step(
        self, ask: Ask, x: Tensor, step: Step, state: None, noise: Noise
    ) -> tuple[Tensor, None]:
        a, b = step.a, step.b
        end = ask.denoise(x, a)
        rest = b.sigma**2 - (b.alpha * self.epsilon) ** 2
        if step.last or rest <= 0:
            return b.alpha * end, None
        return linear((b.alpha, end), (math.sqrt(rest), noise.normal(a.t, b.t))), None
