"""How a network's arithmetic is carried out: dtype, memory format, compiler."""

from __future__ import annotations

import time

import torch
from torch import nn

from sde_diffusion.errors import InputError
from sde_diffusion.training.settings import TrainConfig


def prepare(network: nn.Module, config: TrainConfig, device: torch.device) -> None:
    """Dtype, device, memory format, and torch.compile, in place; names of weights stay."""
    network.to(device, config.torch_dtype)
    if channels_last(config, device):
        # Only weights of four dimensions have a format.
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def channels_last(config: TrainConfig, device: torch.device) -> bool:
    """As asked; else only where tensor cores want it: a CPU's bfloat16 convolutions lose by it."""
    if config.channels_last is not None:
        return config.channels_last
    return device.type == "cuda" and config.precision == "bfloat16"


def compiled(network: nn.Module, device: torch.device) -> None:
    """torch.compile, in place; InputError in one line where there is no compiler that works."""
    unheard_of = time.time_ns() % 10**9 / 10**9  # what was compiled before proves nothing
    try:
        torch.compile(lambda x: x * unheard_of)(torch.zeros(2, device=device))
    except Exception as error:  # each back end has its own
        reason = str(error).strip().splitlines()[0][:200]
        raise InputError(
            f"compile=true: no compiler that works here ({reason}); install one or leave it out"
        ) from error
    network.compile()
