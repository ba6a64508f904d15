"""SA-Solver: stochastic Adams predictor and corrector, any share of noise at each level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from torch import Tensor

from sde_diffusion.process.noise import Noise
from sde_diffusion.solvers.base import StepSolver, linear
from sde_diffusion.solvers.history import History
from sde_diffusion.solvers.quadrature import gauss_legendre, lagrange_integrals, once_a_grid
from sde_diffusion.solvers.step import Ask, Step
from sde_diffusion.system.ranges import OneOf, Within


@dataclass(frozen=True)
class Uncorrected:
    """A step whose end is still to be corrected: its x_t, tau, and z if tau > 0."""

    x: Tensor
    step: Step
    tau: float
    z: Tensor | None


@dataclass(frozen=True)
class SAState:
    """The history, newest first, and the last predictor's move."""

    history: History
    move: Uncorrected | None


class SASolver(StepSolver[SAState]):
    """x_s = sigma_s / sigma_t e^(-tau^2 h) x_t + alpha_s sum_j b_j D_j
             + sigma_s sqrt(1 - e^(-2 tau^2 h)) z

    b_j = int_t^s k e^(-k (lam_s - lam)) l_j(lam) d lam, k = 1 + tau^2, h = lam_s - lam_t, l_j the
    Lagrange polynomials in lam. The predictor's nodes are the newest denoised images D_i, D_{i-1},
    ...; the corrector's are the image at s and then those, with the same z (SA-Solver,
    arXiv:2309.05019). The image at s serves the next step too, so a
    step costs one call, and the last step is not corrected. The first steps have fewer nodes. tau
    is that of the step's upper end: any tau, step by step, leaves the marginals what they are. In
    the last step, whose noise is left out, it is 0.

    Args:
        predictor: 1 to 4 nodes. corrector: 0 (none) or 2 to 4 nodes, the image at s among them.
        tau: >= 0, the share of noise; 0 is the probability flow, 1 the reverse SDE.
        tau_min, tau_max: noise levels sigma / alpha between which tau holds; 0 elsewhere.
        published: with two nodes, k h^2 / 2 for int k e^(-k (lam_s - lam)) (lam - lam_t) d lam, as
            the published code has it: of the same order, and wild where steps are large in lam.
        lower_order_final: fewer nodes in the last steps too, one in the last (published).
    """

    papers = ("2309.05019",)

    one_step = False

    def __init__(
        self,
        predictor: Annotated[int, OneOf(1, 2, 3, 4)] = 3,
        corrector: Annotated[int, OneOf(0, 2, 3, 4)] = 4,
        tau: Annotated[float, Within("0 <= tau <= 4")] = 1.0,
        tau_min: Annotated[float, Within("0 <= tau_min < tau_max")] = 0.05,
        tau_max: Annotated[float, Within("tau_max <= inf")] = 1.0,
        published: bool = False,
        lower_order_final: bool = False,
    ) -> None:
        self.predictor, self.corrector = predictor, corrector
        self.tau, self.tau_min, self.tau_max = tau, tau_min, tau_max
        self.published, self.lower_order_final = published, lower_order_final
        self.depth = max(predictor, corrector)
        self.stochastic = tau > 0
        # A corrector gains an order on its predictor. The first predictor has one node, which only
        # a corrector repairs. The weak order of an Adams method for an SDE is 2 at most.
        formula = min(predictor + 1, corrector) if corrector > 0 else min(predictor, 2)
        self.order = min(formula, 2 if self.stochastic or lower_order_final else 3)

    def init(self, ask: Ask, x: Tensor, steps: Sequence[Step]) -> SAState:
        return SAState(History(), None)

    def step(
        self, ask: Ask, x: Tensor, step: Step, state: SAState, noise: Noise
    ) -> tuple[Tensor, SAState]:
        history = state.history.push(ask.denoise(x, step.a), step.a.lam, keep=self.depth)
        final = step.left if self.lower_order_final else self.depth
        if state.move is not None and self.corrector > 0:
            # The predicted x_t has been asked for its image; only now is it corrected.
            x = self._finish(state.move, history, min(self.corrector, final + 2))
        within = self.tau_min <= step.a.noise_level <= self.tau_max
        tau = self.tau if within and not self.flows(step) else 0.0
        drawn = tau > 0 and not step.last
        move = Uncorrected(x, step, tau, noise.normal(step.a.t, step.b.t) if drawn else None)
        x_s = self._finish(move, history, min(self.predictor, final))
        return x_s, SAState(history, move)

    def _finish(self, move: Uncorrected, history: History, nodes: int) -> Tensor:
        """The end of ``move``, with the newest ``nodes`` images that there are."""
        a, b = move.step.a, move.step.b
        used = history.newest(nodes)
        weights = integrals(used.lam, a.lam, b.lam, 1 + move.tau**2, self.published)
        extra = move.tau**2 * (b.lam - a.lam)
        terms = [(b.sigma / a.sigma * math.exp(-extra), move.x)]
        terms += [(b.alpha * weight, d) for weight, d in zip(weights, used.values, strict=True)]
        if move.z is not None:
            terms.append((b.sigma * math.sqrt(-math.expm1(-2 * extra)), move.z))
        return linear(*terms)


@once_a_grid
def integrals(
    nodes: tuple[float, ...], lam_t: float, lam_s: float, k: float, published: bool
) -> list[float]:
    """b_j for ``nodes`` in lam."""
    h = lam_s - lam_t
    if len(nodes) == 2 and published:
        whole = -math.expm1(-k * h)
        newest = (0.5 * k * h**2 + (lam_t - nodes[1]) * whole) / (nodes[0] - nodes[1])
        return [newest, whole - newest]
    points, weights = gauss_legendre(lam_t, lam_s)
    return lagrange_integrals(nodes, points, k * np.exp(k * (points - lam_s)) * weights)
