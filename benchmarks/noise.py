"""What does noise cost, beside one generator a sample?

Run it with OMP_WAIT_POLICY=passive: a thread of torch that waits for another one spins, and on a
machine with other work that would be most of the processor time of two threads.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import render
import torch
from torch import Tensor

import sde_diffusion
from sde_diffusion.process.noise import (
    BatchDraws,
    Brownian,
    RevealedPath,
    Seeds,
    Stream,
    permutation,
)
from sde_diffusion.process.noise.draws import AHEAD
from sde_diffusion.system.provenance import machine

ROUNDS = 15
# The promise: at most this many times the processor time of one generator a sample.
TARGET = 1.5
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


def least(works: Sequence[Work]) -> list[float]:
    """Least milliseconds of processor time, of all threads, in turn.

    Other work on the machine only adds to it.
    """
    spent: list[list[float]] = [[] for _ in works]
    for _ in range(ROUNDS + 1):
        for times, work in zip(spent, works, strict=True):
            start = time.process_time()
            work()
            times.append(1000 * (time.process_time() - start))
    return [min(times[1:]) for times in spent]


def row(
    label: str, case: Callable[[tuple[int, ...]], tuple[Work, Work]], shape: tuple[int, ...]
) -> list[str]:
    """Old, new and their ratio with one thread, and the ratio with two."""
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        draws = AHEAD if case is steps else 1
        found.append([milliseconds / draws for milliseconds in least(case(shape))])
    (old, new), (old_2, new_2) = found
    nanoseconds = 1e6 * new / np.prod(shape)
    size = " x ".join(map(str, shape))
    ratios = [f"{r:.2f}" if r <= TARGET else f"**{r:.2f}**" for r in (new / old, new_2 / old_2)]
    return [label, size, f"{old:.3g}", f"{new:.3g}", f"{nanoseconds:.3g}", *ratios]


@torch.no_grad()
def forward(rows: int) -> float:
    """Milliseconds of the shipped digits network on so many images: what noise is beside."""
    denoiser = sde_diffusion.load("mnist").denoiser
    x, sigma = torch.zeros(rows, *denoiser.shape), torch.ones((), dtype=torch.float64)
    return least([lambda: denoiser(x, sigma, None)])[0]


def main() -> None:
    """Write noise.md."""
    start = time.perf_counter()
    rows = [row(*case) for case in CASES]
    head = ["what is drawn", "rows x shape", "old, ms", "new, ms", "new, ns a value",
            "new / old, 1 thread", "2 threads"]  # fmt: skip
    torch.set_num_threads(1)
    network = forward(128)
    facts = machine()
    text = f"""# What noise costs

Every random number is a function of (seed, stream, draw, position): Philox4x32-10 keyed by the
seed, and Box and Muller's formula in stated arithmetic. The old way, restated in the script, was
one `torch.Generator` a sample, float64, stacked; for Brownian paths a bisection of its own for each
sample; for a training batch one generator for all of it, in float32; for an epoch
`torch.randperm`. Least of {ROUNDS} draws on the CPU, milliseconds of processor time of all threads,
old and new in turn. Ratios above {TARGET} are bold.

{render.markdown(head, rows)}

- A draw costs about 0.1 ms however small it is, and then as much as its values. Small draws of
  steps are therefore made {AHEAD} at a time; the others are too few to matter.
- torch draws float32 normals of one stream, in blocks, four times as fast as float64 ones, and
  that is what a training batch took: the new noise of a row is the same in every part of the
  batch, so that a process draws for its own rows alone, where the old way drew the whole batch in
  each. The order of an epoch is that of random numbers of 62 bits, so that it is the same on every
  device; it is drawn once an epoch. Beside the network both are small: the shipped one for digits
  takes {network:.0f} ms for 128 images forwards, and must go backwards too.
- Numbers are drawn by one thread; with more threads nothing changes.

## Where the numbers come from

- command: `OMP_WAIT_POLICY={os.environ.get("OMP_WAIT_POLICY", "active")} python
  benchmarks/{Path(sys.argv[0]).name}` ({time.perf_counter() - start:.0f} s)
- machine: {facts["machine"]}
- date: {facts["date"]}, revision: {facts["revision"]}
"""
    render.written("noise", text)
    print(text)


if __name__ == "__main__":
    main()
