"""Noise of one generator a sample and noise as it is drawn now, for ``noise.py``."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from sde_diffusion.process.noise import (
    BatchDraws,
    Brownian,
    RevealedPath,
    Seeds,
    Stream,
    permutation,
)
from sde_diffusion.process.noise.draws import AHEAD

SHAPES = [(64, 4, 64, 64), (16, 3, 256, 256), (128, 1, 28, 28), (16, 2)]
TIMES = (torch.linspace(80 ** (1 / 7), 0.002 ** (1 / 7), 51, dtype=torch.float64) ** 7).tolist()

Work = Callable[[], object]


class OldPath:
    """W(t) by bisection, node after node, for one sample; a cell is kept for each level."""

    def __init__(self, seed: int, shape: Sequence[int], t_max: float = 100.0) -> None:
        self.seed, self.shape = seed, tuple(shape)
        self.cells = [(1, 0.0, t_max, np.zeros(self.shape), t_max**0.5 * self.draw(0))]

    def draw(self, node: int) -> np.ndarray:
        key = np.array([self.seed, node], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=key)).standard_normal(self.shape)

    def at(self, t: float) -> np.ndarray:
        while not self.cells[-1][1] <= t <= self.cells[-1][2]:
            self.cells.pop()
        node, a, b, w_a, w_b = self.cells[-1]
        while b - a > t * 2**-20:
            m, w_m = 0.5 * (a + b), 0.5 * (w_a + w_b) + 0.5 * (b - a) ** 0.5 * self.draw(node)
            if t <= m:
                node, b, w_b = 2 * node, m, w_m
            else:
                node, a, w_a = 2 * node + 1, m, w_m
            self.cells.append((node, a, b, w_a, w_b))
        return w_a + (t - a) / (b - a) * (w_b - w_a)


def steps(shape: tuple[int, ...]) -> tuple[Work, Work]:
    """The normals of ``AHEAD`` steps."""
    generators = [torch.Generator().manual_seed(seed) for seed in range(shape[0])]
    noise = Seeds().batch(range(shape[0]), shape[1:])

    def old() -> None:
        for _ in range(AHEAD):
            draws = [torch.randn(shape[1:], generator=g, dtype=torch.float64) for g in generators]
            torch.stack(draws).float()

    def new() -> None:
        for _ in range(AHEAD):
            noise.normal(1.0, 0.5)

    return old, new


def brownian(shape: tuple[int, ...]) -> tuple[Work, Work]:
    """The increment of one step of EDM's grid of 50, the next at each call."""
    paths = [OldPath(seed, shape[1:]) for seed in range(shape[0])]
    noise = Brownian().batch(range(shape[0]), shape[1:])
    walks = [itertools.pairwise(TIMES) for _ in range(2)]

    def old() -> Tensor:
        t, s = next(walks[0])
        draws = [(path.at(t) - path.at(s)) / (t - s) ** 0.5 for path in paths]
        return torch.from_numpy(np.stack(draws)).float()

    return old, lambda: noise.normal(*next(walks[1]))


def adaptive(shape: tuple[int, ...]) -> tuple[Work, Work]:
    """One attempt of an adaptive solver, kept: the path is extended, and what is behind goes."""
    generators = [torch.Generator().manual_seed(seed) for seed in range(shape[0])]
    known = [torch.zeros(shape[1:], dtype=torch.float64) for _ in generators]
    path = RevealedPath(range(shape[0]), shape[1:], torch.zeros(shape[0], dtype=torch.float64))
    kept = torch.ones(shape[0], dtype=torch.bool)

    def old() -> Tensor:
        moves = []
        for k, g in enumerate(generators):
            z = torch.randn(shape[1:], generator=g, dtype=torch.float64)
            w = known[k] + 0.1**0.5 * z
            moves.append(w - known[k])
            known[k] = w
        return torch.stack(moves)

    def new() -> Tensor:
        moved = path.ahead(path.clocks[0] + 0.1)
        path.advance(kept)
        return moved

    return old, new


def batch(shape: tuple[int, ...]) -> tuple[Work, Work]:
    """The noise of a training step: the old way was one generator for the batch, in float32."""
    draws = BatchDraws(0, 1, range(shape[0]))
    return (
        lambda: torch.randn(shape, generator=torch.Generator().manual_seed(1)),
        lambda: draws.normal(Stream.NOISE, shape[1:]),
    )


def order(shape: tuple[int, ...]) -> tuple[Work, Work]:
    """The order of an epoch."""
    return (
        lambda: torch.randperm(shape[0], generator=torch.Generator().manual_seed(1)),
        lambda: permutation(0, Stream.ORDER, 1, shape[0]),
    )


CASES = [
    *(("a step", steps, shape) for shape in SHAPES),
    ("a step of a Brownian path", brownian, (16, 4, 64, 64)),
    ("an attempt of an adaptive solver", adaptive, (16, 4, 64, 64)),
    ("a training batch", batch, (128, 1, 28, 28)),
    ("a training batch", batch, (64, 4, 64, 64)),
    ("an epoch's order", order, (60_000,)),
]
