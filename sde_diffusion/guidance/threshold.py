"""Dynamic thresholding of the denoised image (Imagen, arXiv:2205.11487, section 2.3)."""

from __future__ import annotations

from typing import final

from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.errors import InputError
from sde_diffusion.guidance.base import Guidance
from sde_diffusion.guidance.pair import columns


@final
class Threshold(Guidance):
    """D clipped to [-s, s] and divided by s, s = max(1, the ``share`` quantile of a row's |D|).

    For data in -1 .. 1. List it after the guidance whose answers it is to tame.
    """

    invertible = False

    def __init__(self, share: float = 0.995) -> None:
        if not 0 < share <= 1:
            raise InputError(f"guidance.threshold.share={share}: give a number above 0, at most 1")
        self.share = share

    def __call__(self, inner: Denoiser, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
        d = inner(x, sigma, cond)
        s = columns(d.flatten(1).abs().float().quantile(self.share, dim=1).clamp_min(1).to(d), d)
        return d.clamp(-s, s) / s
