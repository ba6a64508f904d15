"""How a network's arithmetic is carried out, in training and in sampling alike.

Memory format, compiler, and whether a processor has the type that is asked for.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch
from torch import nn

from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.denoisers.network import NetworkDenoiser
from sde_diffusion.errors import InputError

# What /proc/cpuinfo calls processors that multiply in bfloat16: of x86, and of ARM.
BFLOAT16 = {"avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16"}


def networks(denoiser: Denoiser) -> list[nn.Module]:
    """The networks that a denoiser asks, whatever is wrapped around them."""
    return [part.network for part in denoiser.modules() if isinstance(part, NetworkDenoiser)]


def channels_last(network: nn.Module) -> None:
    """Weights side by side by channel, in place; the answers are the same to rounding."""
    # Only weights of four dimensions have a format.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


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


def carry_out(
    denoiser: Denoiser, device: torch.device, as_channels_last: bool, as_compiled: bool
) -> None:
    """The networks of a denoiser in that memory format, compiled or not, in place."""
    for network in networks(denoiser):
        if as_channels_last:
            channels_last(network)
        if as_compiled:
            compiled(network, device)


def flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> set[str]:
    """What the processor can do, as Linux says it; nothing where it does not."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return set()
    named = (line.partition(":")[2] for line in lines if line.startswith(("flags", "Features")))
    return set(next(named, "").split())


def slower(precision: str, device: torch.device, cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """A line for a precision that costs time here instead of saving it; empty for any other."""
    if precision != "bfloat16" or device.type != "cpu":
        return ""
    features = flags(cpuinfo)
    if not features or features & BFLOAT16:
        return ""
    return (
        "precision=bfloat16: this processor does not multiply in it and is many times slower; "
        "precision=float32 is faster here"
    )
