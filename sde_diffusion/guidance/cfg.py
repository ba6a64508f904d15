"""Classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598)."""

from __future__ import annotations

from typing import Annotated, final

from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.guidance.base import Guidance
from sde_diffusion.guidance.pair import pair
from sde_diffusion.system.ranges import Within


@final
class ClassifierFree(Guidance, known_as="guidance.cfg"):
    """D = D(x, empty) + scale (D(x, cond) - D(x, empty)); the pair in one batch, two evaluations.

    scale = 1 is the conditional denoiser, > 1 sharpens; InputError without a condition.

    Ho & Salimans, arXiv:2207.12598.

    Args:
        scale: w; 1 is the conditional denoiser.
    """

    calls = 2
    asks_empty = True

    def __init__(self, scale: Annotated[float, Within("-1000 <= scale <= 1000")] = 1.5) -> None:
        self.scale = scale

    @property
    def label(self) -> str:
        return f"cfg({self.scale:g})"

    def __call__(self, inner: Denoiser, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
        conditional, empty = pair(inner, x, sigma, cond, "cfg")
        return empty + self.scale * (conditional - empty)
