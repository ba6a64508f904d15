"""The closed form of a finite set."""

from __future__ import annotations

import math

from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import CountedDenoiser


class EmpiricalDenoiser(CountedDenoiser):
    """x_0 uniform over a finite set, each point blurred by bandwidth h.

    a = h^2 / (h^2 + sigma^2), D = (1 - a) softmax((x.x_i - |x_i|^2 / 2) / (h^2 + sigma^2)) X + a x.

    Args:
        points: X [M, *shape].
        bandwidth: h >= 0; 0 is the optimal denoiser of the set itself.
    """

    points: Tensor

    def __init__(self, points: Tensor, bandwidth: float = 0.0) -> None:
        super().__init__(tuple(points.shape[1:]), 0.0, math.inf)
        self.register_buffer("points", points.flatten(1))
        self.bandwidth = bandwidth

    def denoise(self, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
        flat = x.flatten(1).to(self.points)
        sigma = sigma if sigma.ndim == 0 else sigma.reshape(-1, 1)
        total = self.bandwidth**2 + sigma**2
        a = self.bandwidth**2 / total
        logits = (flat @ self.points.T - 0.5 * self.points.square().sum(1)) / total
        return ((1 - a) * (logits.softmax(1) @ self.points) + a * flat).reshape(x.shape)
