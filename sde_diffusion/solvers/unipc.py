"""UniPC: unified predictor-corrector of order 2 or 3, multistep, on the denoised image."""

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
from sde_diffusion.solvers.quadrature import once_a_grid
from sde_diffusion.solvers.step import Ask, Step
from sde_diffusion.system.ranges import OneOf


@dataclass(frozen=True)
class UniPCState:
    """The history, and what is still to be corrected: the step that ended here, and its start."""

    history: History
    move: tuple[Tensor, Step] | None


class UniPC(StepSolver[UniPCState]):
    """With B = expm1(-h) and D^k = (D_{i-k} - D_i) / r_k, r_k = (lam_{i-k} - lam_t) / h:

    x_s = sigma_s / sigma_t x_t - alpha_s B D_i - alpha_s B sum_k rho_k D^k

    where rho solves sum_k r_k^(j-1) rho_k = b_j; the corrector's sum has one more term, the
    denoised image at s itself, r = 1 (arXiv:2302.04867, algorithms 5 and 6, B_2(h)). That call
    serves the next step too, so a step costs one call, and the last step is not corrected.

    Args:
        order: 1, 2 or 3, the order p of the predictor. The corrector lifts the global order to
            p + 1; the first steps, which are of lower order, hold it to 3.
        lower_order_final: make the last steps of lower order too, the last one of first
            (published for few steps).
    """

    papers = ("2302.04867",)

    one_step = False

    def __init__(
        self, order: Annotated[int, OneOf(1, 2, 3)] = 2, lower_order_final: bool = False
    ) -> None:
        self.depth = order
        self.order = min(order + 1, 2 if lower_order_final else 3)
        self.lower_order_final = lower_order_final

    def init(self, ask: Ask, x: Tensor, steps: Sequence[Step]) -> UniPCState:
        return UniPCState(History(), None)

    def step(
        self, ask: Ask, x: Tensor, step: Step, state: UniPCState, noise: Noise
    ) -> tuple[Tensor, UniPCState]:
        denoised = ask.denoise(x, step.a)
        if state.move is not None:
            x = self._move(*state.move, state.history, denoised)
        depth = min(self.depth, step.left) if self.lower_order_final else self.depth
        history = state.history.push(denoised, step.a.lam, keep=depth)
        return self._move(x, step, history, None), UniPCState(history, (x, step))

    def _move(self, x: Tensor, step: Step, history: History, denoised_s: Tensor | None) -> Tensor:
        """x_t -> x_s: the predictor, or the corrector if the denoised image at s is given."""
        a, b = step.a, step.b
        h = step.h
        newest, *others = history.values
        nodes = [(lam - a.lam) / h for lam in history.lam[1:]]
        if denoised_s is not None:
            nodes, others = [*nodes, 1.0], [*others, denoised_s]
        # rho_k D^k = share_k (D_{i-k} - D_i)
        shares = [rho / r for rho, r in zip(weights(tuple(nodes), h), nodes, strict=True)]
        terms = [(1 - sum(shares), newest), *zip(shares, others, strict=True)]
        change = -b.alpha * math.expm1(-h)
        return linear((b.sigma / a.sigma, x), *((change * share, d) for share, d in terms))


@once_a_grid
def weights(nodes: tuple[float, ...], h: float) -> list[float]:
    """rho of sum_k r_k^(j-1) rho_k = b_j, j = 1 .. p; the published 1/2 at p = 1."""
    if len(nodes) < 2:
        return [0.5 for _ in nodes]
    # b_j = j! phi_{j+1}(-h) / B with phi_{k+1}(z) = (phi_k(z) - 1/k!) / z.
    b, phi = [], math.expm1(-h) / -h
    for j in range(1, len(nodes) + 1):
        phi = (phi - 1 / math.factorial(j)) / -h
        b.append(phi * -h * math.factorial(j) / math.expm1(-h))
    powers = np.vander(nodes, increasing=True).T
    return np.linalg.solve(powers, b).tolist()
