"""The device that a user names."""

from __future__ import annotations

import torch
from torch import Tensor

from sde_diffusion.errors import InputError


def usable_device(name: str, key: str = "device") -> torch.device:
    """The device; InputError, which names ``key``, if this machine has none of that name."""
    try:
        device = torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"{key}={name}: not usable here; use {key}=cpu") from error
    if device.type == "meta":  # holds shapes and no numbers
        raise InputError(f"{key}={name}: computes nothing; use {key}=cpu")
    return device


def widest(device: torch.device) -> torch.dtype:
    """float64, or float32 on a device that knows no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def sent(x: Tensor, device: torch.device | str) -> Tensor:
    """x of the host, on the device; the host does not wait for a GPU to have it.

    From memory that is pinned, as it must be for that: what the GPU still works on is the batch
    before, while the next ones are gathered and sent.
    """
    if torch.device(device).type != "cuda":
        return x.to(device)
    return x.pin_memory().to(device, non_blocking=True)
