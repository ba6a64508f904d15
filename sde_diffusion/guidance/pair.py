"""What guidance of two answers has in common: the condition and the other side, in one batch."""

from __future__ import annotations

import torch
from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.errors import InputError


def pair(
    inner: Denoiser, x: Tensor, sigma: Tensor, cond: Condition | None, name: str
) -> tuple[Tensor, Tensor]:
    """D(x, cond) and D(x, empty), each [N, *shape]; InputError, naming ``guidance``, for none
    that has another side."""
    if cond is None or not cond.guides:
        raise InputError(
            f'guidance={name}: needs a condition; set label=7 or prompt="a red circle", what the '
            "model takes, or guidance=[]"
        )
    both = Condition.cat([cond, cond.empty])
    pair_sigma = sigma if sigma.ndim == 0 else sigma.repeat(2)
    conditional, empty = inner(torch.cat([x, x]), pair_sigma, both).chunk(2)
    return conditional, empty


def columns(values: Tensor, x: Tensor) -> Tensor:
    """Values a row [N], shaped to be multiplied with x [N, *shape]."""
    return values.reshape(-1, *[1] * (x.ndim - 1))
