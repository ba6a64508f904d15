"""Particles with consistent weights: twisted sequential Monte Carlo (Wu et al. 2023,
arXiv:2306.17775; for linear operators also Cardoso et al. 2024, arXiv:2308.07983)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.operators.base import Operator
from sde_diffusion.process.noise import Noise
from sde_diffusion.solvers.posterior.base import Move, PosteriorSolver
from sde_diffusion.solvers.step import Ask, Step


@final
@dataclass(frozen=True)
class Cloud:
    """The particles of each row.

    Attributes:
        y: x / alpha [N, P, *shape]. log_weights: [N, P].
        log_twist: of the potential that is in them [N, P].
    """

    y: Tensor
    log_weights: Tensor
    log_twist: Tensor


class Particles(PosteriorSolver[Cloud | None]):
    """P particles a row, moved towards the data and weighted by what the move leaves out.

    The proposal is the ancestral step about D + v A^T (v A A^T + noise^2 I)^-1 (y - A D); the
    potential N(y; A D, noise^2 I + v A A^T), v = r^2 / (1 + r^2 / s). Weights are the model's
    ancestral kernel times the ratio of potentials over the proposal; rows are resampled
    (systematic) where fewer than half of the particles count. The law of the particle drawn at the
    end tends to the posterior as P and the steps grow, in any number of dimensions; P must grow
    with what is measured. No backward pass.

    MCGDiff (arXiv:2308.07983) and TDS (arXiv:2306.17775) are of its kind.

    Args:
        operator: linear, with singular values and noise. particles: P, evaluations a step.
        variance: s, of the data.
    """

    papers = ("2306.17775", "2308.07983")

    def __init__(self, operator: Operator, particles: int = 16, variance: float = 1.0) -> None:
        if not 2 <= particles <= 10_000:
            raise InputError(f"solver.particles={particles}: give a whole number, 2 .. 10000")
        if not 0 < variance < math.inf:
            raise InputError(f"solver.variance={variance}: give a number > 0")
        if not operator.noise > 0:
            raise InputError("operator.noise=0.0: particles need noise to weigh by; give 0.01")
        self.operator, self.particles, self.variance = operator, particles, variance
        self.evaluations = particles

    def step(
        self, ask: Ask, x: Tensor, step: Step, state: Cloud | None, noise: Noise
    ) -> tuple[Tensor, Cloud | None]:
        a, b, p = step.a, step.b, self.particles
        y = (x / a.alpha)[:, None].expand(-1, p, *x.shape[1:]) if state is None else state.y
        for_all = _for_all(ask, p)
        measured = self.measured(for_all, y.flatten(0, 1))
        denoised = for_all.denoise(a.alpha * y.flatten(0, 1), a)
        v = a.noise_level**2 * self.variance / (a.noise_level**2 + self.variance)
        residual = measured.residual(denoised)
        twist = measured.log_likelihood(denoised, 0.0 if step.last else v, self.method)
        log_twist = twist.reshape(-1, p)
        log_weights = log_twist if state is None else state.log_weights + log_twist
        log_weights = log_weights - (0 if state is None else state.log_twist)
        chosen, log_weights = _resampled(log_weights, noise.fresh(), step.last)
        if step.last:
            final = denoised.reshape(y.shape)[torch.arange(len(x), device=x.device), chosen[:, 0]]
            return b.alpha * final, None
        rows = (torch.arange(len(x), device=x.device)[:, None] * p + chosen).flatten()
        y, denoised, log_twist = y.flatten(0, 1)[rows], denoised[rows], log_twist.gather(1, chosen)
        pull = measured.linear(self.method).pull(residual, v, measured.noise**2)[rows]
        z = torch.stack([noise.fresh() for _ in range(p)], 1).flatten(0, 1)
        move = Move(y, denoised, a.noise_level, b.noise_level, z)
        mean, tau = move.ancestral()
        shift = (1 - (move.r_s / move.r) ** 2) * v * pull / tau
        y_s = mean + tau * (z + shift)
        # log of the model's kernel over the proposal, which differ in their means by tau shift.
        ratio = -(z * shift + 0.5 * shift.square()).flatten(1).sum(1).reshape(-1, p)
        cloud = Cloud(y_s.reshape(-1, p, *x.shape[1:]), log_weights + ratio, log_twist)
        return b.alpha * cloud.y[:, 0], cloud


def _for_all(ask: Ask, particles: int) -> Ask:
    """The same process for P particles a row, each with the condition of its row."""
    cond = ask.cond
    if cond is not None:
        cond = cond.each(lambda tensor: tensor.repeat_interleave(particles, 0))
    return Ask(ask.sde, ask.denoiser, cond)


def _resampled(log_weights: Tensor, normals: Tensor, always: bool) -> tuple[Tensor, Tensor]:
    """Which particles go on [N, P], and their log weights; by one uniform number a row.

    Rows whose effective number of particles is at least half of them keep all, unless ``always``.
    """
    n, p = log_weights.shape
    weights = log_weights.double().softmax(1)
    uniform = torch.special.ndtr(normals.flatten(1)[:, :1].double())
    at = (torch.arange(p, device=weights.device) + uniform) / p
    if always:
        at = uniform.expand(n, p)
    chosen = torch.searchsorted(weights.cumsum(1), at.contiguous()).clamp_max(p - 1)
    few = (weights.square().sum(1, keepdim=True) * p > 2) | always
    chosen = torch.where(few, chosen, torch.arange(p, device=weights.device))
    kept = log_weights - log_weights.logsumexp(1, keepdim=True)
    return chosen, torch.where(few, torch.zeros_like(kept), kept)
