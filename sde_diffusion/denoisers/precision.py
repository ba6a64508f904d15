"""The arithmetic of a network: float32, or bfloat16 products with weights and sums in float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from sde_diffusion.system.spelling import none_of

PRECISIONS = ("float32", "bfloat16")


def checked(precision: str | torch.dtype) -> str:
    """The name of a precision, or of torch's type; InputError for any other."""
    name = str(precision).removeprefix("torch.")
    if name not in PRECISIONS:
        raise none_of("precision", name, PRECISIONS)
    return name


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """The context that a network is called in: products in bfloat16 where that is asked for.

    Elsewhere none of its own, so that one around it stays in force.
    """
    return torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()


def recorded(precision: str) -> str:
    """How numbers say it: 7a19cb7 cast the weights, and what it made so is something else."""
    return precision if precision == "float32" else f"{precision} autocast"
