"""The joint fit: all levels and coefficients at once, to the converged images alone.

Levenberg-Marquardt on the end of the rule. The Jacobian is of finite differences, each of which
asks the network only from the step that it changes. Each round takes those of one block of the
noises, Broyden's rule keeps the others up to date, and the noises of all blocks so far judge every
step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import cycle

import torch
from torch import Tensor

from sde_diffusion.calibration.least_squares import LeastSquares, Path, huber_weights
from sde_diffusion.solvers.calibrated.rule import Rule

STEPS = 3  # a round, at most
DIFFERENCE = 2e-3  # of a scaled parameter
DEPTH = 3  # answers of the network whose coefficients are free in a step
NORMALS = 1  # and of the normal law
BLOCKS = 4
PIXELS = 4096  # an image at most, that the fit sees
FAR = 4.0  # the most that the logarithm of a level moves
ENOUGH = 1e-3  # relative gain of a step below which a Jacobian is used up


@dataclass(frozen=True)
class Parameters:
    """theta <-> a rule near ``base``: log of the first level, of the levels asked, W and V.

    W_ij and V_ij are in units of the step sigma_i - sigma_{i+1}, so that all parameters are of one
    scale. Those of the latest answers alone are free: j > i - DEPTH in W, j > i - NORMALS in V.
    """

    base: Rule
    sigma_min: float
    sigma_max: float

    @property
    def entries(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Rows and columns of the free entries of W and of V."""
        n = self.base.n
        i, j = torch.tril_indices(n, n)
        w, v = i - j < DEPTH, i - j < (0 if self.base.normal is None else NORMALS)
        return (i[w], j[w]), (i[v], j[v])

    @property
    def first_steps(self) -> Tensor:
        """The first step over which each parameter has a say."""
        (w, _), (v, _) = self.entries
        return torch.cat([torch.tensor([-1]), torch.arange(self.base.n), w, v])

    def zero(self) -> Tensor:
        """theta of ``base``."""
        return torch.zeros(len(self.first_steps), dtype=torch.float64)

    def rule(self, theta: Tensor) -> Rule:
        """The rule at theta; levels stay in order and within the range of the model."""
        base, n = self.base, self.base.n
        moves = theta[: n + 1].clamp(-FAR, FAR).exp()
        levels = base.levels.clone()
        levels[0] = (levels[0] * moves[0]).clamp(1.02 * float(levels[1]), self.sigma_max)
        asked = (base.asked * moves[1:]).clamp(self.sigma_min, self.sigma_max)
        weights = base.weights.clone()
        step = base.levels[:-1] - base.levels[1:]
        (i, j), (k, m) = self.entries
        weights[i, j] += theta[n + 1 : n + 1 + len(i)] * step[i]
        normal = None if base.normal is None else base.normal.clone()
        if normal is not None:
            normal[k, m] += theta[n + 1 + len(i) :] * step[k]
        return Rule(levels, asked, weights, normal=normal)


class Fit:
    """The state of a fit: parameters, what they give, and the Jacobians there.

    Args:
        blocks: of the noises, at most; a round differentiates one.
    """

    def __init__(
        self, problem: LeastSquares, rule: Rule, path: Path, sigma_min: float, blocks: int = BLOCKS
    ) -> None:
        self.all, self.path = problem, path[slice(0, 0)]
        self.parameters = Parameters(rule, sigma_min, problem.sigma_max)
        self.theta = self.parameters.zero()
        d = path.end[0].numel()
        generator = torch.Generator().manual_seed(0)
        self.pixels = torch.randperm(d, generator=generator)[:PIXELS] if d > PIXELS else None
        n = len(path.end)
        count = min(blocks, n)
        self.blocks = [slice(k * n // count, (k + 1) * n // count) for k in range(count)]
        self.jacobians: list[Tensor] = []  # of the blocks that take part so far, [P, block m]

    @property
    def rule(self) -> Rule:
        return self.parameters.rule(self.theta)

    def seen(self, end: Tensor) -> Tensor:
        """The pixels that the fit looks at [N, m]."""
        flat = end.flatten(1)
        return flat if self.pixels is None else flat[:, self.pixels.to(flat.device)]

    @property
    def cost(self) -> int:
        """Evaluations of fresh differences, for each noise of a block."""
        n = self.parameters.base.n
        steps = self.parameters.first_steps
        levels, coefficients = steps[: n + 1], steps[n + 1 :]
        return int((n - levels.clamp_min(0)).sum() + (n - 1 - coefficients).sum())

    @property
    def problem(self) -> LeastSquares:
        """The noises that take part so far: those of ``path``."""
        return self.all[slice(0, len(self.path.end))]

    def differentiate(self, block: int) -> None:
        """Fresh forward differences of the end, [P, block m]; a new block takes part from here."""
        rows = self.blocks[block]
        problem = self.all[rows]
        if block == len(self.jacobians):
            self.path = self.path + problem.walk(self.rule)
            self.jacobians.append(torch.empty(0))
        known = self.path[rows]
        base = self.seen(known.end)
        columns = []
        for p, step in enumerate(self.parameters.first_steps.tolist()):
            theta = self.theta.clone()
            theta[p] += DIFFERENCE
            changed, kept = self.parameters.rule(theta), known
            if p <= self.parameters.base.n:  # a level: asked anew from that step on
                path = problem.walk(changed, kept, step)
            else:  # a coefficient: the answers up to its step stay
                seen = kept.seen.first(step + 1)
                state = changed.advance(step, kept.states[step], seen, None)
                kept = Path((*kept.states[: step + 1], state), seen)
                path = problem.walk(changed, kept, step + 1)
            columns.append((self.seen(path.end) - base).flatten() / DIFFERENCE)
        self.jacobians[block] = torch.stack(columns)

    def steps(self, damping: float, most: int) -> tuple[float, float]:
        """Steps along these Jacobians until one gains too little: the loss's gain, and a damping.

        The gain is a share of the loss at the knee of the first step.
        """
        problem = self.problem
        first, unit = self.path.end, problem.knee(self.path.end)
        for _ in range(most):
            knee, errors = problem.knee(self.path.end), problem.errors(self.path.end)
            weight = huber_weights(errors, knee)
            left = self.seen(problem.target) - self.seen(self.path.end)
            gram, slope = torch.zeros(len(self.theta), len(self.theta)).double(), self.theta * 0
            for rows, j in zip(self.blocks, self.jacobians, strict=False):
                scaled = weight[rows, None].expand_as(left[rows]).flatten()
                gram = gram + (j * scaled @ j.T).double().cpu()
                slope = slope + (j * scaled @ left[rows].flatten()).double().cpu()
            damped = gram + torch.diag(damping * gram.diag() + 1e-9 * gram.diag().mean())
            change = torch.linalg.solve(damped, slope)
            before = problem.huber(self.path.end, knee)
            theta = self.theta + change
            path = problem.walk(self.parameters.rule(theta))
            after = problem.huber(path.end, knee)
            moved = self.seen(path.end) - self.seen(self.path.end)
            # Broyden: the least change of the Jacobian, in its own metric, that explains the move.
            direction = change * gram.diag()
            direction = direction / (direction @ change)
            for block, j in enumerate(self.jacobians):
                surprise = moved[self.blocks[block]].flatten() - change.to(j) @ j
                self.jacobians[block] = j + torch.outer(direction.to(j), surprise)
            if not after < before:
                damping *= 6
                if damping > 1e3:
                    break
                continue
            gain = 1 - after / before
            self.theta, self.path = theta, path
            damping = max(damping / 4, 1e-6)
            if gain < ENOUGH:
                break
        gained = 1 - problem.huber(self.path.end, unit) / problem.huber(first, unit)
        return gained, damping


def refine(
    problem: LeastSquares,
    rule: Rule,
    path: Path,
    sigma_min: float,
    budget: int,
    judge: Callable[[Rule, Path], float],
) -> Rule:
    """The rule after about ``budget`` evaluations a noise, the best to ``judge`` on the way.

    ``judge`` sees noises too that are not fitted to: it passes over a rule that has learned its own
    by heart. It is given the path of the first noises of ``problem``, so as not to ask again.

    Args:
        problem: least squares over the noises. rule, path: where the fit starts, and its states.
        sigma_min: the least level. budget: evaluations of the denoiser a noise.
        judge: (rule, path) -> error on noises that are not all fitted to.
    """
    evaluations = [0]
    counted = replace(problem, heard=_counting(problem, evaluations))
    fit = Fit(counted, rule, path, sigma_min)
    best, least, damping, idle, spent = rule, judge(rule, path), 1e-2, 0, 0.0
    for block in cycle(range(len(fit.blocks))):
        if spent + fit.cost / len(fit.blocks) > budget or idle == len(fit.blocks):
            break
        fit.differentiate(block)
        gained, damping = fit.steps(damping, most=STEPS)
        spent = evaluations[0] / (len(problem.noise) * problem.denoiser.cost)
        error = judge(fit.rule, fit.path)
        if error < least:
            best, least = fit.rule, error
        idle = idle + 1 if gained < 5 * ENOUGH else 0
    return relabelled(best)


def relabelled(rule: Rule) -> Rule:
    """The rule with its states named after the levels at which the network is asked about them."""
    levels = torch.cat([rule.levels[:1], rule.asked[1:], rule.levels[-1:]])
    for i in range(1, rule.n):  # decreasing, whatever the fit has found
        levels[i] = levels[i].clamp(1.001 * levels[-1], 0.999 * levels[i - 1])
    return replace(rule, levels=levels)


def _counting(problem: LeastSquares, evaluations: list[int]) -> Callable[[int], None]:
    def heard(number: int) -> None:
        evaluations[0] += number
        problem.heard(number)

    return heard
