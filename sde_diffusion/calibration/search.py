"""Where to ask: a search over grids of the reference's nodes, each judged by its greedy fit."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, product

import torch
from torch import Tensor

from sde_diffusion.calibration.greedy import greedy
from sde_diffusion.calibration.least_squares import LeastSquares, Path
from sde_diffusion.calibration.trajectory import Trajectories
from sde_diffusion.process.grids import Karras
from sde_diffusion.process.sde import EDM

Nodes = tuple[int, ...]
# Grids that the search starts from, in units of the largest standard deviation of the data.
FIRST = (6.0, 2.5)
LAST = (0.02, 0.05)
RHO = (4.0, 8.0)
STRIDES = (2, 1)  # of nodes that are moved one by one


def karras(levels: Tensor, n: int, first: float, last: float, rho: float) -> Nodes:
    """n levels from ``first`` to ``last`` after Karras et al. (2206.00364), then the end."""
    top, bottom = 0.99 * float(levels[0]), float(levels[-1])
    low = max(last, 1.5 * bottom)
    high = min(max(first, 2 * low), top)
    inner = Karras(rho=rho, sigma_min=low, sigma_max=high).times(EDM(), n - 1)
    return snapped(levels, torch.cat([inner, levels[-1:].double()]))


def snapped(levels: Tensor, wanted: Tensor) -> Nodes:
    """The nearest ``levels`` in log sigma, increasing indices, each once, the last one last."""
    last, n = len(levels) - 1, len(wanted) - 1
    near = (levels.log()[None] - wanted.log()[:, None]).abs().argmin(1).tolist()
    nodes: list[int] = []
    for i, node in enumerate(near):
        low = nodes[-1] + 1 if nodes else 0
        nodes.append(min(max(node, low), last - (n - i)))
    return tuple(nodes)


class Search:
    """Grids tried so far, and the best of them.

    Args:
        tries: greedy fits at most.
    """

    def __init__(self, problem: LeastSquares, known: Trajectories, tries: int) -> None:
        self.problem, self.known, self.left = problem, known, tries
        self.losses: dict[Nodes, float] = {}
        self.best: tuple[Nodes, Path] | None = None

    def tried(self, nodes: Nodes) -> bool:
        """Whether ``nodes`` are the best yet; False for known ones, and when all is spent."""
        if nodes in self.losses or self.left <= 0:
            return False
        self.left -= 1
        _, path = greedy(self.problem, self.known, nodes, self.best)
        loss = self.problem.huber(path.end)
        better = not self.losses or loss < min(self.losses.values())
        self.losses[nodes] = loss
        if better:
            self.best = nodes, path
        return better

    def grids(self, n: int) -> None:
        """A pattern search over first level, last level asked and rho."""
        scale, levels = self.problem.normal.law.scale, self.known.levels
        at = (1.0, 1.0, 1.0)
        for shape in product((float(levels[0]) / scale, *FIRST), LAST, RHO):
            if self.tried(karras(levels, n, shape[0] * scale, shape[1] * scale, shape[2])):
                at = shape
        moved = True
        while moved and self.left > 0:
            moved = False
            for k, factor in product(range(3), (1.4, 1 / 1.4)):
                shape = tuple(v * factor if i == k else v for i, v in enumerate(at))  # type: ignore[assignment]
                if self.tried(karras(levels, n, shape[0] * scale, shape[1] * scale, shape[2])):
                    at, moved = shape, True

    def nodes(self) -> None:
        """A coordinate search: one node at a time, the late ones first, since those cost least."""
        assert self.best is not None
        for stride in STRIDES:
            moved = True
            while moved and self.left > 0:
                moved = False
                for nodes in self._neighbours(stride):
                    if self.tried(nodes):
                        moved = True

    def _neighbours(self, stride: int) -> Iterator[Nodes]:
        assert self.best is not None
        for k in reversed(range(len(self.best[0]) - 1)):
            for step in (-stride, stride):
                nodes = list(self.best[0])
                nodes[k] += step
                if nodes[0] >= 0 and all(a < b for a, b in pairwise(nodes)):
                    yield tuple(nodes)


def searched(problem: LeastSquares, known: Trajectories, n: int, tries: int) -> Nodes:
    """The nodes of the best grid of n steps that ``tries`` greedy fits find."""
    search = Search(problem, known, tries)
    search.grids(n)
    search.nodes()
    assert search.best is not None
    return search.best[0]
