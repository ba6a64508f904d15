"""Adaptive projected guidance, without momentum (APG, arXiv:2410.02416)."""

from __future__ import annotations

from typing import final

from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.errors import InputError
from sde_diffusion.guidance.base import Guidance
from sde_diffusion.guidance.pair import columns, pair


@final
class Projected(Guidance):
    """D(x, c) + (scale - 1) (g_orthogonal + parallel g_parallel), g = D(x, c) - D(x, empty).

    g is first shortened to norm ``radius`` (0: as it is), then split along and across D(x, c):
    the part along it brings saturation. parallel = 1, radius = 0 is classifier-free guidance. It
    aims at the look of guided pictures, at no law.
    """

    calls = 2

    def __init__(self, scale: float = 1.5, parallel: float = 0.0, radius: float = 0.0) -> None:
        if not radius >= 0:
            raise InputError(f"guidance.apg.radius={radius}: give a number >= 0, 0 for no limit")
        self.scale, self.parallel, self.radius = scale, parallel, radius

    def __call__(self, inner: Denoiser, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
        given, empty = pair(inner, x, sigma, cond, "apg")
        g = given - empty
        if self.radius:
            norm = g.flatten(1).norm(dim=1)
            g = g * columns((self.radius / norm.clamp_min(1e-30)).clamp_max(1), g)
        length = given.flatten(1).square().sum(1).clamp_min(1e-30)
        along = columns((g * given).flatten(1).sum(1) / length, g) * given
        return given + (self.scale - 1) * (g - along + self.parallel * along)
