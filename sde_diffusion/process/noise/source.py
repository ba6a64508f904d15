"""Noise: what a sample is depends on its own seed, not on its batch, order or device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from sde_diffusion.process.noise.draws import Draws
from sde_diffusion.process.noise.seeds import checked_seeds
from sde_diffusion.process.noise.streams import Stream
from sde_diffusion.system.identity import Component


class Noise(ABC):
    """The random numbers that a solver draws for a batch: normals [N, *shape], a row a seed."""

    @abstractmethod
    def fresh(self) -> Tensor:
        """New normals that belong to no interval: a corrector's move, a restart's jump.

        Not those of the start, which ``NoiseSource.start`` gives.
        """

    @abstractmethod
    def normal(self, t: float, s: float) -> Tensor:
        """The normalised Brownian increment over the step t -> s."""

    @abstractmethod
    def entropy(self) -> list[int]:
        """A new seed below 2^62 for each row, for a library that draws its own numbers."""


class NoiseSource(Component, ABC, known_as="noise"):
    """Makes the noise of a batch from its seeds; this is what a config chooses."""

    @abstractmethod
    def batch(
        self,
        seeds: Sequence[int],
        shape: Sequence[int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Noise:
        """The noise of N rows.

        Args:
            seeds: whole numbers 0 .. 2^64 - 1, one a row; else InputError.
            shape: of a row.
            dtype: of the normals, which are made in float64 and rounded last.
            device: where they are made.
        """

    @final
    def start(
        self,
        seeds: Sequence[int],
        shape: Sequence[int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """The normals [N, *shape] that x_T is made of, whichever the source; nothing else has them.

        A start that was drawn here and is handed over by a user is not drawn again by a solver.
        """
        return Draws.of_seeds(seeds, device).normal(Stream.START, 0, shape, dtype)


class SeededNoise(Noise):
    """Moves and entropy from streams of their own; steps are left to others."""

    def __init__(
        self,
        seeds: Sequence[int],
        shape: Sequence[int],
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> None:
        self.seeds, self.shape, self.dtype = checked_seeds(seeds), tuple(shape), dtype
        self.draws = Draws.of_seeds(self.seeds, device)
        self.moves = self.entropies = 0

    @final
    def fresh(self) -> Tensor:
        self.moves += 1
        return self.draws.normal(Stream.FRESH, self.moves - 1, self.shape, self.dtype)

    @final
    def entropy(self) -> list[int]:
        self.entropies += 1
        host = Draws.of_seeds(self.seeds)  # not from the device, which would have to be read
        return host.whole(Stream.ENTROPY, self.entropies - 1, (), 2**62).tolist()


@final
class StepNoise(SeededNoise):
    """Independent normals at each step; a step is known by its number alone.

    Attributes:
        steps: the number of the next one.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        shape: Sequence[int],
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> None:
        super().__init__(seeds, shape, dtype, device)
        self.steps = 0
        # Small draws of some steps, and the number of the first.
        self.ahead: tuple[int, Tensor] | None = None

    def normal(self, t: float, s: float) -> Tensor:
        self.steps += 1
        return self._small(self.steps - 1)

    def _small(self, k: int) -> Tensor:
        """Draw k, with some that follow it where they are small."""
        if self.ahead is None or not 0 <= k - self.ahead[0] < len(self.ahead[1]):
            several = self.draws.normals(Stream.STEP, k, self.shape, self.dtype)
            if several is None:
                return self.draw(k)
            self.ahead = k, several
        first, several = self.ahead
        return several[k - first].clone()

    def draw(self, k: int) -> Tensor:
        """What call k = 0, 1, ... of ``normal`` returns, whatever was called before."""
        return self.draws.normal(Stream.STEP, k, self.shape, self.dtype)


@final
class Seeds(NoiseSource):
    """Independent normals at each step, from one seed a sample."""

    def batch(
        self,
        seeds: Sequence[int],
        shape: Sequence[int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> StepNoise:
        return StepNoise(seeds, shape, dtype, device)
