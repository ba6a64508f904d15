"""Classifier-free guidance within an interval of noise levels (arXiv:2404.07724)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, final

import torch
from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.errors import InputError
from sde_diffusion.guidance.base import Guidance
from sde_diffusion.guidance.cfg import ClassifierFree
from sde_diffusion.system.ranges import Within


@final
class Interval(Guidance, known_as="guidance.interval"):
    """Classifier-free guidance where low < sigma <= high, else D(x, cond) alone: one evaluation.

    The budget ``nfe`` is planned as if every call were a pair; what is saved shows in the NFE that
    is measured. Levels a row are guided by row, each call as a pair.

    Kynkaanniemi et al., arXiv:2404.07724.

    Args:
        scale: as of ``ClassifierFree``.
        low, high: noise levels, low < sigma <= high is guided; high None: no upper end.
    """

    calls = 2
    asks_empty = True

    def __init__(
        self,
        scale: Annotated[float, Within("-1000 <= scale <= 1000")] = 1.5,
        low: Annotated[float, Within("0 <= low <= 1e9")] = 0.0,
        high: float | None = None,
    ) -> None:
        top = math.inf if high is None else high
        if not 0 <= low < top:
            raise InputError(
                f"guidance.interval.low={low}, high={high}: give noise levels 0 <= low < high, or "
                "high=null"
            )
        self.scale, self.low, self.high = scale, low, high
        self._cfg, self._top = ClassifierFree(scale), top

    def check_levels(self, low: float, high: float) -> None:
        if self.low >= high or self._top < low:
            top = "null" if self.high is None else f"{self.high:g}"
            raise InputError(
                f"guidance.interval.low={self.low:g}, high={top}: the model is asked at noise "
                f"levels {low:g} to {high:g}, none of them within; give some that are"
            )

    def check_asked(self, levels: Callable[[], Sequence[float]]) -> None:
        asked = sorted(levels())
        if any(self.low < level <= self._top for level in asked):
            return
        below = [level for level in asked if level <= self.low]
        above = [level for level in asked if level > self._top]
        near = [*below[-1:], *above[:1]]
        wider = [f"low={_beyond(below[-1], -1):.4g}"] if below else []
        if above:
            wider.append("high=" + ("null" if math.isinf(near[-1]) else f"{_beyond(near[-1]):.4g}"))
        top = "null" if self.high is None else f"{self.high:g}"
        raise InputError(
            f"guidance.interval.low={self.low:g}, high={top}: none of the {len(asked)} noise "
            f"levels that the model is asked at is within; the nearest "
            f"{'are' if len(near) > 1 else 'is'} {' and '.join(f'{level:.5g}' for level in near)}: "
            f"give {' or '.join(wider)}"
        )

    def __call__(self, inner: Denoiser, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
        if sigma.ndim == 0:
            if self.low < float(sigma) <= self._top:
                return self._cfg(inner, x, sigma, cond)
            return inner(x, sigma, cond)
        if cond is None:
            return self._cfg(inner, x, sigma, cond)
        both = Condition.cat([cond, cond.empty])
        given, empty = inner(torch.cat([x, x]), sigma.repeat(2), both).chunk(2)
        level = sigma.to(x.device).reshape(-1, *[1] * (x.ndim - 1))
        within = (level > self.low) & (level <= self._top)
        return torch.where(within, empty + self.scale * (given - empty), given)


def _beyond(level: float, side: int = 1) -> float:
    """A number of four digits next above a level, or for ``side`` -1 next below it."""
    unit = 10.0 ** (math.floor(math.log10(level)) - 3)
    return (math.floor(level / unit) + 1 if side > 0 else math.ceil(level / unit) - 1) * unit
