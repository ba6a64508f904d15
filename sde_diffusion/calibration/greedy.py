"""The greedy fit: step by step, from the states that the rule itself has made."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from sde_diffusion.calibration.problem import Path, Problem
from sde_diffusion.calibration.trajectory import Trajectories
from sde_diffusion.grid import Karras, TimeGrid, VPTime
from sde_diffusion.sde import EDM
from sde_diffusion.solvers.rule import Rule

# A step uses this many residuals at most, and its coefficients are held to DDIM's by this much.
DEPTH = 4
RIDGE = 1e-4


def candidates(levels: Tensor, scale: float, n: int) -> list[tuple[int, ...]]:
    """Starting grids of n steps, as indices of ``levels``: VP-time^2 and Karras.

    They start at the top, where the Gaussian flow does next to nothing, at 6 or at 3 times the
    largest standard deviation ``scale`` of the data; and they are spread down to the end, or to a
    fraction of ``scale`` from which the last step goes to the end.
    """
    top, bottom = float(levels[0]), float(levels[-1])
    found: list[tuple[int, ...]] = []
    for first, last in product((0.99 * top, 6 * scale, 3 * scale), (0.0, 0.02, 0.06)):
        first = min(max(first, 20 * bottom), 0.99 * top)
        low = max(last * scale, bottom)
        steps = n if low == bottom else n - 1
        ends: tuple[type[TimeGrid], ...] = VPTime, Karras
        for grid in ends:
            wanted = grid(sigma_min=low, sigma_max=first).times(EDM(), steps)
            whole = wanted if steps == n else torch.cat([wanted, levels[-1:].double()])
            nodes = tuple(snapped(levels, whole))
            if nodes not in found:
                found.append(nodes)
    return found


def snapped(levels: Tensor, wanted: Tensor) -> list[int]:
    """The nearest ``levels`` in log sigma, increasing indices, each once, the last one last."""
    last, n = len(levels) - 1, len(wanted) - 1
    near = (levels.log()[None] - wanted.log()[:, None]).abs().argmin(1).tolist()
    found: list[int] = []
    for i, node in enumerate(near):
        low = found[-1] + 1 if found else 0
        found.append(min(max(node, low), last - (n - i)))
    return found


def greedy(problem: Problem, known: Trajectories, nodes: Sequence[int]) -> tuple[Rule, Path]:
    """Ridge regression of the converged state at each node on what the rule knows there.

    Minimises |y_{i+1}^ref - y_i - sum_j W_ij e_j|^2 + RIDGE |W_i - DDIM|^2, scaled by the
    residuals; y_i is the rule's own state, so that later steps learn to repair earlier ones.
    """
    levels = known.levels[list(nodes)].double()
    n = len(levels) - 1
    rule = Rule(levels, levels[:-1].clone(), torch.zeros(n, n).double())
    states, residuals = [problem.begin(float(levels[0]))], []
    for i in range(n):
        residuals.append(problem.ask(states[i], float(rule.asked[i])))
        first = max(0, i + 1 - DEPTH)
        target = known.states[nodes[i + 1]].to(states[i])
        design = torch.stack([e.flatten() for e in residuals[first:]]).double()
        prior = torch.zeros(len(design)).double()
        prior[-1] = levels[i + 1] - levels[i]
        left = (target - states[i]).flatten().double() - prior.to(design) @ design
        gram = design @ design.T
        gram += RIDGE * gram.diag().mean() * torch.eye(len(design)).to(gram)
        rule.weights[i, first : i + 1] = prior + torch.linalg.solve(gram, design @ left).cpu()
        states.append(rule.advance(i, states[i], residuals, None))
    return rule, Path(tuple(states), tuple(residuals))
