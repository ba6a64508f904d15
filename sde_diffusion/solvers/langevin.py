"""Annealed Langevin dynamics, a corrector: steps along the score at one noise level."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from sde_diffusion.process.noise import Noise
from sde_diffusion.solvers.base import Corrector, expand, row_norm
from sde_diffusion.solvers.step import Ask, Step
from sde_diffusion.system.ranges import OneOf, Within


class Langevin(Corrector):
    """x <- x + e score + sqrt(2 e) z, e = 2 a (snr |z| / |score|)^2 (arXiv:2011.13456, alg. 4, 5).

    a = (alpha_t / alpha_s)^2 is the paper's 1 - beta_i, from the step itself, for any SDE.

    Norms of fewer than ``enough`` numbers, such as the two coordinates of a point, come near 0 by
    chance, and e would grow without bound. There |z| / |score| is sigma_t, which is the ratio of
    sqrt(d) and sqrt(d) / sigma_t: e = 2 a (snr sigma_t)^2, the step of arXiv:1907.05600, alg. 1.

    Args:
        snr: signal-to-noise ratio of a step; published: 0.16 CIFAR-10, 0.17 CelebA, 0.075 LSUN.
        n_steps: Langevin steps at each level.
        norm: ``sample`` takes the norms of each sample; ``batch`` averages them over the batch,
            the published rule, with which a sample depends on its neighbours.
    """

    papers = ("2011.13456", "1907.05600")
    order = None
    linear = False
    covariant = False
    enough = 256  # numbers whose norm is an average; that of fewer follows their own chance

    def __init__(
        self,
        snr: Annotated[float, Within("1e-4 <= snr < 1")] = 0.16,
        n_steps: Annotated[int, Within("1 <= n_steps <= 10000")] = 1,
        norm: Annotated[str, OneOf("sample", "batch")] = "sample",
    ) -> None:
        self.snr = snr
        self.n_steps = n_steps
        self.norm = norm
        self.evaluations = n_steps
        self.couples_batch = norm == "batch"

    def correct(self, ask: Ask, x: Tensor, step: Step, noise: Noise) -> Tensor:
        a = (step.a.alpha / step.b.alpha) ** 2
        for _ in range(self.n_steps):
            score, z = ask.score(x, step.a), noise.fresh()
            e = expand(2 * a * self._ratio(score, z, step.a.sigma) ** 2, x).to(x.dtype)
            x = torch.addcmul(x, e, score).addcmul_((2 * e).sqrt(), z)
        return x

    def _ratio(self, score: Tensor, z: Tensor, sigma: float) -> Tensor:
        """snr |z| / |score| of each row [N], or of all [1]."""
        numbers = z.numel() if self.couples_batch else z[0].numel()
        if numbers < self.enough:
            return self.snr * torch.full((1,), sigma, dtype=z.dtype, device=z.device)
        size_z, size_score = row_norm(z), row_norm(score)
        if self.couples_batch:
            size_z, size_score = size_z.mean()[None], size_score.mean()[None]
        return self.snr * size_z / size_score
