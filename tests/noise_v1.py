"""The noise of revision 7a19cb7, written a second time: what version 1 of a sample is drawn from.

One generator a sample: ``torch.Generator().manual_seed(seed)``, whose ``randn`` in float64 is
drawn draw by draw, the start first. Imports nothing of the package.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


class Draws:
    """The normals of one batch [N, *shape]: the k-th call gives the k-th draw of every seed."""

    silent = False

    def __init__(
        self,
        seeds: Sequence[int],
        shape: Sequence[int],
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.shape, self.dtype, self.device = tuple(shape), dtype, device

    def fresh(self) -> Tensor:
        rows = [torch.randn(self.shape, generator=g, dtype=torch.float64) for g in self.generators]
        return torch.stack(rows).to(self.device, self.dtype)

    def normal(self, t: Tensor, s: Tensor) -> Tensor:
        return self.fresh()

    def entropy(self) -> list[int]:
        return [int(torch.randint(2**62, (), generator=g)) for g in self.generators]


class PathDraws(Draws):
    """Steps take the increments of one Brownian path a sample on 0 .. t_max."""

    def __init__(
        self,
        seeds: Sequence[int],
        shape: Sequence[int],
        dtype: torch.dtype,
        device: torch.device | str,
        t_max: float,
    ) -> None:
        super().__init__(seeds, shape, dtype, device)
        self.seeds, self.t_max = list(seeds), t_max

    def normal(self, t: Tensor, s: Tensor) -> Tensor:
        low, high = sorted((float(t), float(s)))
        if not 0 < low < high <= self.t_max:
            raise ValueError(f"step {low} .. {high} is not within 0 .. {self.t_max}")
        rows = [
            (self.path(seed, high) - self.path(seed, low)) / (high - low) ** 0.5
            for seed in self.seeds
        ]
        return torch.from_numpy(np.stack(rows)).to(self.device, self.dtype)

    def path(self, seed: int, t: float) -> np.ndarray:
        """W(t): halving from the whole interval, each midpoint from its bridge, by (seed, node).

        Node 0 is the end, node 1 the first midpoint, 2k and 2k + 1 the halves of node k. Linear
        within a cell of less than 2^-20 t.
        """

        def drawn(node: int) -> np.ndarray:
            key = np.array([seed % 2**64, node], dtype=np.uint64)
            return np.random.Generator(np.random.Philox(key=key)).standard_normal(self.shape)

        node, a, b = 1, 0.0, self.t_max
        w_a, w_b = np.zeros(self.shape), self.t_max**0.5 * drawn(0)
        while b - a > t * 2**-20:
            middle = 0.5 * (a + b)
            w = 0.5 * (w_a + w_b) + 0.5 * (b - a) ** 0.5 * drawn(node)
            if t <= middle:
                node, b, w_b = 2 * node, middle, w
            else:
                node, a, w_a = 2 * node + 1, middle, w
        return w_a + (t - a) / (b - a) * (w_b - w_a)


@dataclass(frozen=True)
class Seeds:
    """Independent normals at each step, from one seed a sample."""

    def start(
        self,
        seeds: Sequence[int],
        shape: Sequence[int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """The normals of x_T: the first draw, after which those of ``batch`` go on."""
        return Draws(seeds, shape, dtype, device).fresh()

    def batch(
        self,
        seeds: Sequence[int],
        shape: Sequence[int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Draws:
        noise = Draws(seeds, shape, dtype, device)
        noise.fresh()
        return noise


@dataclass(frozen=True)
class Brownian(Seeds):
    """One Brownian path a sample, in the time of the SDE."""

    t_max: float = 100.0

    def batch(
        self,
        seeds: Sequence[int],
        shape: Sequence[int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> PathDraws:
        noise = PathDraws(seeds, shape, dtype, device, self.t_max)
        noise.fresh()
        return noise


class RevealedPath:
    """W on clock >= start for a solver that chooses its steps: what was drawn stays drawn.

    Beyond all that is known the path is extended; between two known values it is their bridge.
    """

    def __init__(self, seed: int, shape: Sequence[int], start: float) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.shape = tuple(shape)
        self.known = {start: torch.zeros(self.shape, dtype=torch.float64)}
        self.clock = [start]

    def at(self, clock: float) -> Tensor:
        """W float64 [*shape], for a clock not before the last that was kept."""
        if clock in self.known:
            return self.known[clock]
        i = bisect_left(self.clock, clock)
        if i == 0:
            raise ValueError(f"the path before {self.clock[0]} was forgotten, {clock} was asked")
        a = self.clock[i - 1]
        mean, variance = self.known[a], clock - a
        if i < len(self.clock):
            b = self.clock[i]
            mean = mean + (clock - a) / (b - a) * (self.known[b] - mean)
            variance = (clock - a) * (b - clock) / (b - a)
        z = torch.randn(self.shape, generator=self.generator, dtype=torch.float64)
        self.known[clock] = mean + variance**0.5 * z
        insort(self.clock, clock)
        return self.known[clock]

    def forget(self, clock: float) -> None:
        """Keep only what lies at ``clock`` and beyond."""
        gone = [t for t in self.clock if t < clock]
        for t in gone:
            del self.known[t]
        self.clock = self.clock[len(gone) :]


class RevealedPaths:
    """A path a row, each at its own clock, asked as the package asks its own."""

    def __init__(
        self,
        seeds: Sequence[int],
        shape: Sequence[int],
        clock: Tensor,
        device: torch.device | str = "cpu",
    ) -> None:
        self.now = self.asked = clock.tolist()
        rows = zip(seeds, self.now, strict=True)
        self.paths = [RevealedPath(seed, shape, start) for seed, start in rows]

    def ahead(self, clock: Tensor, known: int | None = None) -> Tensor:
        self.asked = clock.tolist()
        rows = zip(self.paths, self.now, self.asked, strict=True)
        return torch.stack([path.at(b) - path.at(a) for path, a, b in rows])

    def advance(self, kept: Tensor) -> Tensor:
        for k in kept.nonzero().flatten().tolist():
            self.now[k] = self.asked[k]
            self.paths[k].forget(self.now[k])
        return torch.tensor([len(path.clock) for path in self.paths])

    def keep(self, rows: Sequence[int]) -> None:
        self.paths, self.now = [self.paths[k] for k in rows], [self.now[k] for k in rows]
