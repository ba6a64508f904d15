"""The greedy fit: step by step, from the states that the rule itself has made."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sde_diffusion.calibration.least_squares import KNEE, LeastSquares, Path, huber_weights
from sde_diffusion.calibration.trajectory import Trajectories
from sde_diffusion.solvers.calibrated.rule import Residuals, Rule

# A step uses this many answers of the network and of the normal law at most, and its coefficients
# are held to DDIM's by this much. Answers to neighbouring states hardly differ: a ridge of 1e-4 of
# their size would keep a rule of 10 evaluations from using what they tell together.
DEPTH = 4
NORMALS = 2
RIDGE = 3e-6
REWEIGHTED = 2  # times that a step is fitted again, with less weight on images beyond the knee


def greedy(
    problem: LeastSquares,
    known: Trajectories,
    nodes: Sequence[int],
    like: tuple[Sequence[int], Path] | None = None,
) -> tuple[Rule, Path]:
    """Ridge regression of the converged state at each node on what the rule knows there.

    Minimises rho(y_{i+1}^ref - y_i - sum_j (W_ij e_j + V_ij g_j)) + RIDGE |W_i - DDIM, V_i|^2, each
    coefficient in units of its own term, rho Huber's loss of an image's error; y_i is the rule's
    own state, so that later steps learn to repair earlier ones.

    Args:
        like: nodes and path of a fit to the same noises; answers to equal beginnings are its own.
    """
    levels = known.levels[list(nodes)].double()
    n = len(levels) - 1
    zeros = torch.zeros(n, n).double()
    rule = Rule(levels, levels[:-1].clone(), zeros.clone(), normal=zeros.clone())
    assert rule.normal is not None
    same = 0
    if like is not None:
        while same < n and list(like[0][: same + 1]) == list(nodes[: same + 1]):
            same += 1
    states, seen = [problem.begin(float(levels[0]))], Residuals()
    for i in range(n):
        if like is not None and i < same:
            seen = like[1].seen.first(i + 1)
        else:
            seen = seen + problem.ask(rule, i, states[i])
        first, own = max(0, i + 1 - DEPTH), max(0, i + 1 - NORMALS)
        target = known.states[nodes[i + 1]].to(states[i])
        columns = [*seen.residuals[first:], *seen.normals[own:]]
        design = torch.stack([x.flatten() for x in columns]).double()
        prior = torch.zeros(len(design)).double()
        prior[i - first] = levels[i + 1] - levels[i]
        left = (target - states[i]).flatten().double() - prior.to(design) @ design
        solution = prior + huber_ridge(design, left, len(target)).cpu()
        rule.weights[i, first : i + 1] = solution[: i + 1 - first]
        rule.normal[i, own : i + 1] = solution[i + 1 - first :]
        states.append(rule.advance(i, states[i], seen, None))
    return rule, Path(tuple(states), seen)


def huber_ridge(design: Tensor, left: Tensor, images: int) -> Tensor:
    """c [K] that makes ``left`` - c ``design`` small, [m] and [K, m], m the pixels of all images.

    Ridge regression again and again, images whose error is beyond the knee weighed knee / error
    (Huber 1964). One near a decision between two pictures may have gone the other way from its
    reference: in plain least squares a single such image rules the step.
    """
    scaled = design
    for _ in range(REWEIGHTED):
        error = (left - _ridge(scaled, design, left) @ design).reshape(images, -1).norm(dim=1)
        weight = huber_weights(error, KNEE * error.median())
        scaled = design * weight.repeat_interleave(len(left) // images)
    return _ridge(scaled, design, left)


def _ridge(scaled: Tensor, design: Tensor, left: Tensor) -> Tensor:
    gram = scaled @ design.T
    gram += RIDGE * torch.diag(gram.diag())
    return torch.linalg.solve(gram, scaled @ left)
