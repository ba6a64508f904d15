"""How the network of a run is carried out: its dtype, device and memory format."""

from __future__ import annotations

import torch
from torch import nn

from sde_diffusion.denoisers.arithmetic import channels_last
from sde_diffusion.training.settings import TrainConfig


def prepare(network: nn.Module, config: TrainConfig, device: torch.device) -> None:
    """Dtype, device, memory format, and torch.compile, in place; names of weights stay."""
    network.to(device, config.torch_dtype)
    if wants_channels_last(config, device):
        channels_last(network)


def wants_channels_last(config: TrainConfig, device: torch.device) -> bool:
    """As asked; else only where tensor cores want it: a CPU's bfloat16 convolutions lose by it."""
    if config.channels_last is not None:
        return config.channels_last
    return device.type == "cuda" and config.precision == "bfloat16"
