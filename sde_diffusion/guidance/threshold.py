"""Dynamic thresholding of the denoised image (Imagen, arXiv:2205.11487, section 2.3)."""

from __future__ import annotations

from typing import Annotated, final

from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.guidance.base import Guidance
from sde_diffusion.guidance.pair import columns
from sde_diffusion.system.ranges import Within


@final
class Threshold(Guidance, known_as="guidance.threshold"):
    """D clipped to [-s, s] and divided by s, s = max(1, the ``share`` quantile of a row's |D|).

    For data in -1 .. 1. List it after the guidance whose answers it is to tame.

    Imagen, Saharia et al., arXiv:2205.11487, section 2.3.

    Args:
        share: of a row's values that are not clipped; 0.995 as published.
    """

    invertible = False

    def __init__(self, share: Annotated[float, Within("0 < share <= 1")] = 0.995) -> None:
        self.share = share

    def __call__(self, inner: Denoiser, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
        d = inner(x, sigma, cond)
        s = columns(d.flatten(1).abs().float().quantile(self.share, dim=1).clamp_min(1).to(d), d)
        return d.clamp(-s, s) / s
