"""Adaptive projected guidance (APG, arXiv:2410.02416); with momentum it is a solver."""

from __future__ import annotations

from typing import Annotated, final

from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.guidance.base import Guidance
from sde_diffusion.guidance.pair import columns, pair
from sde_diffusion.system.ranges import Within


@final
class Projected(Guidance, known_as="guidance.apg"):
    """D(x, c) + (scale - 1) (g_orthogonal + parallel g_parallel), g = D(x, c) - D(x, empty).

    g is first shortened to norm ``radius`` (0: as it is), then split along and across D(x, c):
    the part along it brings saturation. parallel = 1, radius = 0 is classifier-free guidance. It
    aims at the look of guided pictures, at no law.

    APG, Sadat et al., arXiv:2410.02416, without its momentum, which is a solver: ``APGMomentum``.

    Args:
        scale: as of ``ClassifierFree``.
        parallel: eta of the paper, the share of g along D(x, c) that is kept.
        radius: r of the paper, the longest g; 0: any.
    """

    calls = 2
    asks_empty = True

    def __init__(
        self,
        scale: Annotated[float, Within("-1000 <= scale <= 1000")] = 1.5,
        parallel: Annotated[float, Within("-1000 <= parallel <= 1000")] = 0.0,
        radius: Annotated[float, Within("0 <= radius <= 1e9")] = 0.0,
    ) -> None:
        self.scale, self.parallel, self.radius = scale, parallel, radius

    def __call__(self, inner: Denoiser, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
        conditional, empty = pair(inner, x, sigma, cond, "apg")
        step = projected(conditional - empty, conditional, self.parallel, self.radius)
        return conditional + (self.scale - 1) * step


def projected(g: Tensor, conditional: Tensor, parallel: float, radius: float) -> Tensor:
    """g_orthogonal + parallel g_parallel of g, shortened to norm ``radius`` (0: as it is).

    Args:
        g, conditional: [N, *shape]; the parts are across and along ``conditional``, row by row.
    """
    if radius:
        norm = g.flatten(1).norm(dim=1)
        g = g * columns((radius / norm.clamp_min(1e-30)).clamp_max(1), g)
    length = conditional.flatten(1).square().sum(1).clamp_min(1e-30)
    along = columns((g * conditional).flatten(1).sum(1) / length, g) * conditional
    return g - along + parallel * along
