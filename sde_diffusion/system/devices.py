"""The device that a user names."""

from __future__ import annotations

import torch

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
