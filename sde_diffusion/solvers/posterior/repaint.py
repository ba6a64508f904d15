"""RePaint: ancestral steps with the known part put in, gone over again (arXiv:2201.09865)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.operators.base import Operator
from sde_diffusion.operators.measurement import Measured
from sde_diffusion.process.noise import Noise
from sde_diffusion.solvers.posterior.base import Move, PosteriorSolver
from sde_diffusion.solvers.step import Ask, Step


class RePaint(PosteriorSolver[None]):
    """Per step, ``repeats`` times: r -> r_s ancestral, the known replaced, and back up to r.

    The known part at r_s is the measurement with noise up to r_s (algorithm 1, jumps of one step);
    where it is noisier than r_s it is left as the model has it. The paper's is for masks without
    noise; singular directions take their place for other linear operators.

    Lugmayr et al., arXiv:2201.09865.

    Args:
        operator: linear, with singular values. repeats: evaluations a step; published 10.
    """

    papers = ("2201.09865",)

    def __init__(self, operator: Operator, repeats: int = 4) -> None:
        if repeats < 1:
            raise InputError(f"solver.repeats={repeats}: give a whole number >= 1")
        self.operator, self.repeats, self.evaluations = operator, repeats, repeats

    def step(
        self, ask: Ask, x: Tensor, step: Step, state: None, noise: Noise
    ) -> tuple[Tensor, None]:
        a, b = step.a, step.b
        measured, y = self.measured(ask, x), x / a.alpha
        up = math.sqrt(a.noise_level**2 - b.noise_level**2)
        for j in range(self.repeats):
            final = step.last and j + 1 == self.repeats
            z = torch.zeros_like(x) if final else noise.fresh()
            denoised = ask.denoise(a.alpha * y, a)
            y_s = self._replaced(measured, Move(y, denoised, a.noise_level, b.noise_level, z))
            if j + 1 < self.repeats:
                y = y_s + up * noise.fresh()
        return b.alpha * y_s, None

    def _replaced(self, measured: Measured, move: Move) -> Tensor:
        """y at r_s, the known directions as they were measured."""
        spectrum, s = measured.spectral(self.method)
        mean, tau = move.ancestral()
        free = mean + tau * move.z
        inverse = torch.where(s > 0, 1 / s.clamp_min(1e-30), 0)
        nu = measured.noise * inverse
        spread = (move.r_s**2 - nu.square()).clamp_min(0).sqrt()
        measured_part = inverse * spectrum.data(measured.y) + spread * spectrum.analysis(move.z)
        clear = (s > 0) & (nu <= move.r_s)
        change = torch.where(clear, measured_part - spectrum.analysis(free), 0)
        return free + spectrum.synthesis(change)
