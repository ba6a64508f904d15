"""numpy for the CPU and torch for other devices: the same arithmetic, to the last bit.

Noise is made of whole numbers and of +, -, *, / and square roots of float64, each an operation
that IEEE 754 rounds in one way. On the CPU numpy's calls cost a third of torch's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# A numpy array or a tensor, of float64 or int64: both know the operators in use.
Array = Any


class Engine(ABC):
    """What numpy and torch spell differently.

    Attributes:
        block: counters that are worked on at once.
        device: where it works.
    """

    block: int
    device: torch.device

    @abstractmethod
    def array(self, values: Tensor | NDArray[np.int64]) -> Array:
        """``values`` in this engine's place."""

    @abstractmethod
    def store(self, values: Array, out: Tensor) -> None:
        """``values`` into a part of a tensor, rounded to its dtype."""

    @abstractmethod
    def arange(self, start: int, stop: int) -> Array:
        """int64 [stop - start]."""

    @abstractmethod
    def filled(self, value: int) -> Array:
        """int64 [1, 1]."""

    @abstractmethod
    def empty(self, *shape: int) -> Array:
        """float64, not set."""

    @abstractmethod
    def real(self, whole: Array) -> Array:
        """Nearest float64."""

    @abstractmethod
    def bits(self, real: Array) -> Array:
        """The float64 as int64: the same memory."""

    @abstractmethod
    def from_bits(self, bits: Array) -> Array:
        """The int64 as float64: the same memory."""

    @abstractmethod
    def sqrt(self, real: Array) -> Array: ...


@final
class HostEngine(Engine):
    """numpy, in blocks that stay in the cache of a core."""

    block = 2**14
    device = torch.device("cpu")

    def array(self, values: Tensor | NDArray[np.int64]) -> Array:
        return np.asarray(values)

    def store(self, values: Array, out: Tensor) -> None:
        if out.dtype in (torch.float64, torch.float32, torch.int64):
            # By one thread: torch would wake all of them for a copy that is not worth it.
            out.numpy()[...] = values
        else:
            out.copy_(torch.from_numpy(values))

    def arange(self, start: int, stop: int) -> Array:
        return np.arange(start, stop, dtype=np.int64)

    def filled(self, value: int) -> Array:
        return np.full((1, 1), value, dtype=np.int64)

    def empty(self, *shape: int) -> Array:
        return np.empty(shape)

    def real(self, whole: Array) -> Array:
        return whole.astype(np.float64)

    def bits(self, real: Array) -> Array:
        return real.view(np.int64)

    def from_bits(self, bits: Array) -> Array:
        return bits.view(np.float64)

    def sqrt(self, real: Array) -> Array:
        return np.sqrt(real, out=real)


@final
class DeviceEngine(Engine):
    """torch on ``device``, in blocks that leave room beside a network."""

    block = 2**20

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def array(self, values: Tensor | NDArray[np.int64]) -> Array:
        return torch.as_tensor(values, device=self.device)

    def store(self, values: Array, out: Tensor) -> None:
        out.copy_(values)

    def arange(self, start: int, stop: int) -> Array:
        return torch.arange(start, stop, device=self.device)

    def filled(self, value: int) -> Array:
        # A kernel's argument: torch.tensor would copy from the host.
        return torch.full((1, 1), value, dtype=torch.int64, device=self.device)

    def empty(self, *shape: int) -> Array:
        return torch.empty(shape, dtype=torch.float64, device=self.device)

    def real(self, whole: Array) -> Array:
        return whole.double()

    def bits(self, real: Array) -> Array:
        return real.view(torch.int64)

    def from_bits(self, bits: Array) -> Array:
        return bits.view(torch.float64)

    def sqrt(self, real: Array) -> Array:
        return real.sqrt_()


def engine_for(device: torch.device) -> Engine:
    """numpy for the CPU, and for devices that know no float64; torch for all others."""
    return HostEngine() if device.type in ("cpu", "mps") else DeviceEngine(device)
