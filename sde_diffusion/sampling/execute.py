"""How sampling runs, as opposed to what is sampled: batches, dtype and device."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sde_diffusion.errors import InputError

# Of the state.
STATE_DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class Execution:
    """None of it changes what a sample is, beyond rounding.

    Attributes:
        batch_size: rows that go through the network at once.
        dtype: of the state; the network keeps its own.
        device: where the state lives; the network must be there.
    """

    batch_size: int = 128
    dtype: torch.dtype = torch.float32
    device: torch.device | str = "cpu"

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise InputError(f"batch_size={self.batch_size}: give a number >= 1")
