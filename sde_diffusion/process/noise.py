"""Noise: what a sample is depends on its own seed, not on its batch, order or device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.system.identity import Component


class Noise(ABC):
    """The random numbers of one batch: standard normals [N, *shape]."""

    @abstractmethod
    def fresh(self) -> Tensor:
        """Normals that belong to no interval: the start, and a corrector's move."""

    @abstractmethod
    def normal(self, t: float, s: float) -> Tensor:
        """The normalised Brownian increment over the step t -> s."""

    @abstractmethod
    def entropy(self) -> list[int]:
        """A fresh seed below 2^62 for each sample, for a library that draws its own numbers."""


class NoiseSource(Component, ABC):
    """Makes the noise of a batch from its seeds; this is what a config chooses."""

    @abstractmethod
    def batch(
        self,
        seeds: Sequence[int],
        shape: Sequence[int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Noise: ...


class _Generators(Noise):
    """One CPU generator a sample; draws are float64, so every dtype sees the same numbers."""

    def __init__(
        self,
        seeds: Sequence[int],
        shape: Sequence[int],
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> None:
        self.generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
        self.shape, self.dtype, self.device = tuple(shape), dtype, device

    @final
    def fresh(self) -> Tensor:
        draws = [torch.randn(self.shape, generator=g, dtype=torch.float64) for g in self.generators]
        return torch.stack(draws).to(self.device, self.dtype)

    def normal(self, t: float, s: float) -> Tensor:
        return self.fresh()

    @final
    def entropy(self) -> list[int]:
        return [int(torch.randint(2**62, (), generator=g)) for g in self.generators]


class _Path:
    """W(t) on 0 .. t_max by bisection: each midpoint is drawn from its bridge, by (seed, node).

    W is a function of the seed alone, whatever is asked and in which order: linear between nodes
    nearer than 2^-20 t, a virtual Brownian tree (Li et al., arXiv:2001.01328).
    """

    def __init__(self, seed: int, shape: Sequence[int], t_max: float) -> None:
        self.seed, self.shape = seed % 2**64, tuple(shape)
        end = t_max**0.5 * self._draw(0)
        # The cells from the whole interval down to that of the last question: node, ends, W there.
        self.cells = [(1, 0.0, t_max, np.zeros(self.shape), end)]

    def _draw(self, node: int) -> np.ndarray:
        key = np.array([self.seed, node], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=key)).standard_normal(self.shape)

    def at(self, t: float) -> np.ndarray:
        while not self.cells[-1][1] <= t <= self.cells[-1][2]:
            self.cells.pop()
        node, a, b, w_a, w_b = self.cells[-1]
        while b - a > t * 2**-20:
            m, w_m = 0.5 * (a + b), 0.5 * (w_a + w_b) + 0.5 * (b - a) ** 0.5 * self._draw(node)
            if t <= m:
                node, b, w_b = 2 * node, m, w_m
            else:
                node, a, w_a = 2 * node + 1, m, w_m
            self.cells.append((node, a, b, w_a, w_b))
        return w_a + (t - a) / (b - a) * (w_b - w_a)


class RevealedPath:
    """W on clock >= start, W(start) = 0, drawn where it is asked; what was drawn stays drawn.

    A question beyond all earlier ones extends the path, one between two is drawn from the bridge
    that they span: an adaptive solver that refuses a step goes on along the same path, and nothing
    of it is lost (rejection sampling with memory, Rackauckas & Nie 2017).
    """

    def __init__(self, seed: int, shape: Sequence[int], start: float) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.shape = tuple(shape)
        self.clock = [start]
        self.values = [torch.zeros(self.shape, dtype=torch.float64)]

    def at(self, clock: float) -> Tensor:
        """W float64 [*shape] at ``clock``, not before the last time that was kept."""
        i = bisect_left(self.clock, clock)
        if i < len(self.clock) and self.clock[i] == clock:
            return self.values[i]
        if i == 0:
            raise ValueError(f"the path before {self.clock[0]} was forgotten, {clock} was asked")
        a, w = self.clock[i - 1], self.values[i - 1]
        variance = clock - a
        if i < len(self.clock):
            b, w_b = self.clock[i], self.values[i]
            w = w + (clock - a) / (b - a) * (w_b - w)
            variance = (clock - a) * (b - clock) / (b - a)
        z = torch.randn(self.shape, generator=self.generator, dtype=torch.float64)
        w = w + variance**0.5 * z
        self.clock.insert(i, clock)
        self.values.insert(i, w)
        return w

    def forget(self, clock: float) -> None:
        """Keep only what lies at ``clock`` and beyond."""
        i = bisect_left(self.clock, clock)
        del self.clock[:i], self.values[:i]


class _BrownianPaths(_Generators):
    """One Brownian path a sample over time, so that finer grids see the same path."""

    def __init__(
        self,
        seeds: Sequence[int],
        shape: Sequence[int],
        dtype: torch.dtype,
        device: torch.device | str,
        t_max: float,
    ) -> None:
        super().__init__(seeds, shape, dtype, device)
        self.t_max = t_max
        self.paths = [_Path(int(seed), shape, t_max) for seed in seeds]

    def normal(self, t: float, s: float) -> Tensor:
        low, high = sorted((t, s))
        if not 0 < low < high <= self.t_max:
            raise InputError(
                f"noise.t_max={self.t_max}: the path ends there, the step is {low:g} .. {high:g}; "
                "raise it"
            )
        draws = [(path.at(high) - path.at(low)) / (high - low) ** 0.5 for path in self.paths]
        return torch.from_numpy(np.stack(draws)).to(self.device, self.dtype)


class Seeds(NoiseSource):
    """Independent normals at each step, from one seed a sample."""

    def batch(
        self,
        seeds: Sequence[int],
        shape: Sequence[int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Noise:
        return _Generators(seeds, shape, dtype, device)


class Brownian(NoiseSource):
    """One Brownian path a sample, in the time of the SDE, on 0 .. t_max."""

    def __init__(self, t_max: float = 100.0) -> None:
        self.t_max = t_max

    def batch(
        self,
        seeds: Sequence[int],
        shape: Sequence[int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Noise:
        return _BrownianPaths(seeds, shape, dtype, device, self.t_max)
