"""Classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598)."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.errors import InputError
from sde_diffusion.guidance.base import Guidance


@final
class ClassifierFree(Guidance):
    """D = D(x, empty) + scale (D(x, cond) - D(x, empty)); the pair in one batch, two evaluations.

    scale = 1 is the conditional denoiser, > 1 sharpens; InputError without a condition.
    """

    calls = 2

    def __init__(self, scale: float = 1.5) -> None:
        if not isinstance(scale, int | float) or not math.isfinite(scale):
            raise InputError(f"guidance.scale={scale!r}: give a finite number")
        self.scale = scale

    @property
    def label(self) -> str:
        return f"cfg({self.scale:g})"

    def __call__(self, inner: Denoiser, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
        if cond is None:
            raise InputError("guidance=cfg: needs a condition; set label=7, say, or guidance=[]")
        both = Condition.cat([cond, cond.empty])
        pair_sigma = sigma if sigma.ndim == 0 else sigma.repeat(2)
        given, empty = inner(torch.cat([x, x]), pair_sigma, both).chunk(2)
        return empty + self.scale * (given - empty)
