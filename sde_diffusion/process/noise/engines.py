"""numpy for the CPU and torch for other devices: the same arithmetic, to the last bit.

Noise is made of whole numbers and of +, -, *, / and square roots of float64, each an operation
that IEEE 754 rounds in one way. On the CPU numpy's calls cost a third of torch's.
"""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property, lru_cache
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# A numpy array or a tensor, of float64 or int64: both know the operators in use.
Array = Any


@final
class Lanes:
    """Memory for numbers of 64 bits, [*shape], and the ways to see it.

    Attributes:
        whole: int64 [*shape].
        real: float64 [*shape].
        low, high: int32, flat: every other one is the lower, or the upper, half of a number, in
            the order of bytes of little-endian machines.
    """

    def __init__(self, library: Any, flat: Array, shape: Sequence[int]) -> None:
        """In ``flat``, int64, which has one number more at least: ``high`` ends behind the last."""
        size = math.prod(shape)
        self.whole = flat[:size].reshape(shape)
        self.real = self.whole.view(library.float64)
        halves = flat.view(library.int32)
        self.low, self.high = halves[: 2 * size], halves[1 : 2 * size + 1]
        self.library, self.flat = library, flat

    @cached_property
    def two(self) -> tuple[Lanes, Lanes]:
        """Both parts of [2, ...]: the same memory."""
        _, *shape = self.whole.shape
        parts = (self.flat, self.flat[math.prod(shape) :])
        first, second = (Lanes(self.library, part, shape) for part in parts)
        return first, second


class Engine(ABC):
    """What numpy and torch spell differently.

    Attributes:
        block: counters that are worked on at once.
        small: those of several draws that may be made together, though not all may be used.
        device: where it works.
        library: numpy or torch, for what both spell alike.
    """

    block: int
    small: int
    device: torch.device
    library: Any

    @abstractmethod
    def array(self, values: Tensor | NDArray[np.int64]) -> Array:
        """``values`` in this engine's place: the same memory if they are there."""

    @abstractmethod
    def writes(self, dtype: torch.dtype) -> bool:
        """Can numbers be put into an ``array`` of a tensor of this dtype?"""

    @abstractmethod
    def number(self, value: float) -> Any:
        """An operand: int64 if ``value`` is an int, else float64."""

    @abstractmethod
    def arange(self, start: int, stop: int) -> Array:
        """int64 [stop - start]."""

    @abstractmethod
    def filled(self, value: int) -> Array:
        """int64 [1, 1]."""

    @abstractmethod
    def lanes(self, count: int, shape: tuple[int, ...]) -> Sequence[Lanes]:
        """Memory for ``count`` arrays, not set; the next ``lanes`` of a thread may be the same."""

    @abstractmethod
    def less(self, value: float, real: Array) -> Array:
        """``value`` - ``real``, in the place of ``real``."""

    def broadcasting(self) -> AbstractContextManager[None]:
        """Within it what is broadcast is not copied."""
        return nullcontext()


@final
class HostEngine(Engine):
    """numpy, in blocks that stay in the cache of a core.

    A call costs as much as the work on some thousand numbers: smaller blocks are slower.
    """

    block, small = 2**15, 2**14
    device = torch.device("cpu")
    library = np
    kept = threading.local()

    def array(self, values: Tensor | NDArray[np.int64]) -> Array:
        return np.asarray(values)

    def writes(self, dtype: torch.dtype) -> bool:
        return dtype in (torch.float64, torch.float32, torch.int64)

    def number(self, value: float) -> Any:
        return _scalar(value)

    def arange(self, start: int, stop: int) -> Array:
        return np.arange(start, stop, dtype=np.int64)

    def filled(self, value: int) -> Array:
        return np.full((1, 1), value, dtype=np.int64)

    def lanes(self, count: int, shape: tuple[int, ...]) -> Sequence[Lanes]:
        """The same memory for every block, so that it is in the cache: new memory seldom is."""
        known, kept = getattr(self.kept, "lanes", (None, []))
        if known != (count, shape):
            flat = self._memory(count, math.prod(shape) + 1)
            kept = [Lanes(np, row, shape) for row in flat]
            self.kept.lanes = (count, shape), kept
        return kept

    def _memory(self, count: int, size: int) -> Array:
        """int64 [count, size], of this thread."""
        memory: Tensor = getattr(self.kept, "memory", torch.empty(0, 0))
        if len(memory) < count or memory.shape[1] < size:
            # By torch, whose memory begins with a line of the cache, as numpy's loops like it;
            # so do rows of whole lines.
            shape = max(count, len(memory)), max(size + -size % 8, memory.shape[1])
            self.kept.memory = memory = torch.empty(shape, dtype=torch.int64)
        return memory.numpy()[:count, :size]

    def less(self, value: float, real: Array) -> Array:
        return np.subtract(_scalar(value), real, out=real)

    @contextmanager
    def broadcasting(self) -> Iterator[None]:
        """numpy puts rows together in its buffer until that is full, which costs two passes."""
        usual = np.setbufsize(16)
        try:
            yield
        finally:
            np.setbufsize(usual)


@lru_cache(maxsize=256, typed=True)
def _scalar(value: float) -> NDArray[Any]:
    """An array without dimensions: of a number, numpy would make one at each call."""
    scalar = np.array(value)
    scalar.setflags(write=False)
    return scalar


@final
class DeviceEngine(Engine):
    """torch on ``device``, in blocks that leave room beside a network."""

    block, small = 2**20, 2**20
    library = torch

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def array(self, values: Tensor | NDArray[np.int64]) -> Array:
        return torch.as_tensor(values, device=self.device)

    def writes(self, dtype: torch.dtype) -> bool:
        return True

    def number(self, value: float) -> Any:
        return value  # a kernel's argument: torch.tensor would copy from the host

    def arange(self, start: int, stop: int) -> Array:
        return torch.arange(start, stop, device=self.device)

    def filled(self, value: int) -> Array:
        return torch.full((1, 1), value, dtype=torch.int64, device=self.device)

    def lanes(self, count: int, shape: tuple[int, ...]) -> Sequence[Lanes]:
        size = 16 * (math.prod(shape) // 16 + 1)  # whole lines of a device's cache
        memory = torch.empty(count, size, dtype=torch.int64, device=self.device)
        return [Lanes(torch, flat, shape) for flat in memory]

    def less(self, value: float, real: Array) -> Array:
        return real.neg_().add_(value)


def engine_for(device: torch.device) -> Engine:
    """numpy for the CPU, and for devices that know no float64; torch for all others."""
    return HostEngine() if device.type in ("cpu", "mps") else DeviceEngine(device)
