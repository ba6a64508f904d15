"""Annealed Langevin dynamics, a corrector: steps along the score at one noise level."""

from __future__ import annotations

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.process.noise import Noise
from sde_diffusion.solvers.base import Corrector, expand, row_norm
from sde_diffusion.solvers.step import Ask, Step


class Langevin(Corrector):
    """x <- x + e score + sqrt(2 e) z, e = 2 a (snr |z| / |score|)^2 (arXiv:2011.13456, alg. 4, 5).

    a = (alpha_t / alpha_s)^2 is the paper's 1 - beta_i, from the step itself, for any SDE.

    Args:
        snr: signal-to-noise ratio of a step; published: 0.16 CIFAR-10, 0.17 CelebA, 0.075 LSUN.
        n_steps: Langevin steps at each level.
        norm: ``sample`` takes the norms of each sample; ``batch`` averages them over the batch,
            the published rule, with which a sample depends on its neighbours.
    """

    order = None
    linear = False
    covariant = False

    def __init__(self, snr: float = 0.16, n_steps: int = 1, norm: str = "sample") -> None:
        if norm not in ("sample", "batch"):
            raise InputError(f"solver.norm={norm}: choose sample or batch")
        if n_steps < 1 or not snr > 0:
            raise InputError(f"solver.n_steps={n_steps}, snr={snr}: give n_steps >= 1, snr > 0")
        self.snr = snr
        self.n_steps = n_steps
        self.norm = norm
        self.evaluations = n_steps
        self.couples_batch = norm == "batch"

    def correct(self, ask: Ask, x: Tensor, step: Step, noise: Noise) -> Tensor:
        a = (step.a.alpha / step.b.alpha) ** 2
        for _ in range(self.n_steps):
            score, z = ask.score(x, step.a), noise.fresh()
            size_score, size_z = row_norm(score), row_norm(z)
            if self.couples_batch:
                size_score, size_z = size_score.mean()[None], size_z.mean()[None]
            e = expand(2 * a * (self.snr * size_z / size_score) ** 2, x).to(x.dtype)
            x = torch.addcmul(x, e, score).addcmul_((2 * e).sqrt(), z)
        return x
