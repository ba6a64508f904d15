"""Decoupled annealing posterior sampling (Zhang et al. 2025, arXiv:2407.01521)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.operators.base import Operator
from sde_diffusion.operators.measurement import Measured
from sde_diffusion.process.grids import power_spaced
from sde_diffusion.process.noise import Noise
from sde_diffusion.solvers.posterior.base import Move, PosteriorSolver
from sde_diffusion.solvers.step import Ask, Step

RHO = 7.0  # of the flow's levels


class DAPS(PosteriorSolver[float]):
    """At each level: the flow to x_hat, x_0 ~ N(x_hat, r^2 I) given y, then noise up to r_s.

    For a linear operator the draw of x_0 is exact. With ``langevin`` steps it is by Langevin's
    dynamics, as published and for any differentiable operator, each of length
    rate / (1 / r^2 + 1 / noise^2) (published: one length for all, tuned by task).

    Zhang et al., arXiv:2407.01521.

    Args:
        operator: A and its noise. flow: evaluations a level, DDIM's; published 5 to 10.
        langevin: steps a level, published 100; 0: the exact draw, for linear operators.
        rate: of Langevin's steps, < 1.
    """

    papers = ("2407.01521",)

    def __init__(
        self, operator: Operator, flow: int = 4, langevin: int = 0, rate: float = 0.1
    ) -> None:
        if flow < 1 or langevin < 0:
            raise InputError(
                f"solver.flow={flow}, langevin={langevin}: give flow >= 1, langevin >= 0"
            )
        if not 0 < rate < 1:
            raise InputError(f"solver.rate={rate}: give 0 < rate < 1")
        if langevin and not operator.noise > 0:
            raise InputError(
                "operator.noise=0.0: Langevin's steps need noise; give 0.01, or solver.langevin=0"
            )
        self.operator, self.flow, self.langevin, self.rate = operator, flow, langevin, rate
        self.evaluations = flow

    def init(self, ask: Ask, x: Tensor, steps: Sequence[Step]) -> float:
        return steps[-1].b.noise_level

    def step(
        self, ask: Ask, x: Tensor, step: Step, state: float, noise: Noise
    ) -> tuple[Tensor, float]:
        a, b = step.a, step.b
        x_hat = self._end_of_flow(ask, x / a.alpha, a.noise_level, state)
        measured = self.measured(ask, x)
        if self.langevin:
            x_0 = self._langevin(measured, x_hat, a.noise_level, noise)
        else:
            normals = noise.fresh(), noise.fresh()
            x_0 = measured.drawn(x_hat, a.noise_level**2, normals, self.method)
        if not step.last:
            x_0 = x_0 + b.noise_level * noise.normal(a.t, b.t)
        return b.alpha * x_0, state

    def _end_of_flow(self, ask: Ask, y: Tensor, r: float, low: float) -> Tensor:
        """x_hat from y at level r, by DDIM down to the level ``low``; the last call is D itself."""
        first, last = (torch.tensor(level, dtype=torch.float64) for level in (r, min(low, r)))
        unit = torch.linspace(0, 1, self.flow, dtype=torch.float64)
        levels = [r] if self.flow == 1 else power_spaced(first, last, unit, RHO).tolist()
        for at, to in pairwise([*levels, 0.0]):
            mark = ask.at_level(at)
            y, _ = Move(y, ask.denoise(mark.alpha * y, mark), at, to, y).ancestral(0.0)
        return y

    def _langevin(self, measured: Measured, x_hat: Tensor, r: float, noise: Noise) -> Tensor:
        variance = measured.noise**2
        e = self.rate / (1 / r**2 + 1 / variance)
        x = x_hat
        for _ in range(self.langevin):
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                energy = measured.residual(x).square().sum() / (2 * variance)
                (gradient,) = torch.autograd.grad(energy, x)
            x = x.detach() - e * (gradient + (x.detach() - x_hat) / r**2)
            x = x + math.sqrt(2 * e) * noise.fresh()
        return x
