"""Gradients no longer than a bound."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sde_diffusion.system import processes


@torch.no_grad()
def clip(parameters: Sequence[nn.Parameter], longest: float) -> Tensor:
    """The length |g| [] of all gradients, which are then multiplied by
    min(1, longest / (|g| + 1e-6)).

    What ``torch.nn.utils.clip_grad_norm_`` does, to the last bit, but for its pass over gradients
    that are short enough: on the host, where to ask costs nothing.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    length = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    length = processes.whole(length)
    factor = longest / (length + 1e-6)
    if length.device.type != "cpu" or factor < 1:
        torch._foreach_mul_(gradients, factor.clamp(max=1))
    return length
