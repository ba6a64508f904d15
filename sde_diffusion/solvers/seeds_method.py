"""SEEDS: singlestep exponential solvers of one to three stages for the reverse SDE."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from sde_diffusion.process.noise import Noise
from sde_diffusion.process.sde import Marginal
from sde_diffusion.solvers.base import StepSolver, linear
from sde_diffusion.solvers.step import Ask, Step
from sde_diffusion.system.ranges import OneOf

# Where a step's stages stand, as shares of h (published: c_2 = 1/2; c_2 = 1/3, c_3 = 2/3).
STAGES: dict[int, tuple[float, ...]] = {1: (), 2: (1 / 2,), 3: (1 / 3, 2 / 3)}


@dataclass(frozen=True)
class StageInterval:
    """The linear part of y = x / alpha from noise level r_t to r_u, h = log(r_t / r_u).

    y_u = a y_t + phi_1 f + phi_2 (change of f over the interval) + sd z, where f is the denoised
    image (``data``) or the predicted noise.
    """

    a: float
    phi_1: float
    phi_2: float
    sd: float

    @classmethod
    def between(cls, t: Marginal, u: Marginal, data: bool, k: float = 2.0) -> StageInterval:
        """From t down to u; ``data`` says what f is; k = 2 is the SDE, k = 1 the flow."""
        h, r_u = u.lam - t.lam, u.noise_level
        if data:  # dy = k (f - y) d lam + sqrt(2 (k - 1)) r dw
            whole = -math.expm1(-k * h)
            sd = r_u * math.sqrt(-(k - 1) * math.expm1(-2 * h))
            return cls(1 - whole, whole, 1 - whole / (k * h), sd)
        # dy = -k r f d lam + sqrt(2 (k - 1)) r dw
        rise = math.expm1(h)
        sd = r_u * math.sqrt((k - 1) * math.expm1(2 * h))
        return cls(1.0, -k * r_u * rise, -k * r_u * (rise / h - 1), sd)


class SEEDS(StepSolver[None]):
    """In y = x / alpha, with a, phi_1, phi_2, sd of the interval from t to the time in brackets:

    order 1: y_s = a(s) y_t + phi_1(s) f_t + w(s)
    order 2: u = a(m) y_t + phi_1(m) f_t + w(m), y_s = a(s) y_t + phi_1(s) f_u + w(s)
    order 3: u = a(m) y_t + phi_1(m) f_t + w(m),
             v = a(k) y_t + phi_1(k) f_t + 2 phi_2(k) (f_u - f_t) + w(k),
             y_s = a(s) y_t + phi_1(s) f_t + 3/2 phi_2(s) (f_v - f_t) + w(s)

    m stands half way in lam (order 2); m and k at one and two thirds (order 3). With r = sigma /
    alpha, over an interval of length d in lam that ends at u

    data: f = D, a = e^(-2d), phi_1 = 1 - e^(-2d), phi_2 = 1 - phi_1 / (2d),
          sd^2 = r_u^2 (1 - e^(-2d))
    noise: f = n, a = 1, phi_1 = -2 r_u (e^d - 1), phi_2 = -2 r_u ((e^d - 1) / d - 1),
          sd^2 = r_u^2 (e^(2d) - 1)

    w is one path: w(m) = sd z_1, and each later w is a times the one before plus sd z_j, both of
    the interval between the two (SEEDS-1, -2, -3; arXiv:2305.14267). Two and three stages are of
    weak order 2: the third stage makes the drift, not the noise, of third order. The last step,
    whose noise is left out, follows the flow then: 1 for each 2 above, but for sd.

    Args:
        order: 1, 2 or 3 stages, as many evaluations a step.
        prediction: ``data`` or ``noise``, which of the two is held constant in the exact integral;
            ``noise`` needs small steps where the noise is high.
    """

    papers = ("2305.14267",)
    stochastic = True

    def __init__(
        self,
        order: Annotated[int, OneOf(*STAGES)] = 2,
        prediction: Annotated[str, OneOf("data", "noise")] = "data",
    ) -> None:
        self.shares = STAGES[order]
        self.evaluations = order
        self.data = prediction == "data"
        self.order = min(order, 2)

    def step(
        self, ask: Ask, x: Tensor, step: Step, state: None, noise: Noise
    ) -> tuple[Tensor, None]:
        predict = ask.denoise if self.data else ask.noise
        k = 1.0 if self.flows(step) else 2.0
        start = before = step.a
        f_t = predict(x, start)
        f, c = f_t, 0.0
        path: list[tuple[float, Tensor]] = []
        for share in (*self.shares, 1.0):
            at = step.b if share == 1 else ask.between(step, share)
            whole = StageInterval.between(start, at, self.data, k)
            part = StageInterval.between(before, at, self.data, k)
            if not step.last:
                path = [(part.a * sd, z) for sd, z in path]
                path.append((part.sd, noise.normal(before.t, at.t)))
            terms = [(whole.a / start.alpha, x), *path]
            if c == 0:
                terms += [(whole.phi_1, f_t)]
            elif self.evaluations == 2:
                terms += [(whole.phi_1, f)]
            else:
                slope = share / c * whole.phi_2
                terms += [(whole.phi_1 - slope, f_t), (slope, f)]
            x_u = linear(*((at.alpha * weight, value) for weight, value in terms))
            if share < 1:
                f, c, before = predict(x_u, at), share, at
        return x_u, None
