"""At which noise levels a walk asks its denoiser: of fixed steps known before it is gone."""

from __future__ import annotations

from typing import final

from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.denoisers.wrapper import Wrapper
from sde_diffusion.errors import InputError
from sde_diffusion.system.notice import once


class Heard(Wrapper):
    """``inner``, with the levels of its calls kept."""

    def __init__(self, inner: Denoiser) -> None:
        super().__init__(inner)
        self._seen: list[Tensor] = []

    def forward(self, x: Tensor, sigma: Tensor, cond: Condition | None = None) -> Tensor:
        self._seen.append(sigma.flatten())
        answer: Tensor = self.inner(x, sigma, cond)
        return answer

    @property
    def levels(self) -> list[float]:
        """Of all calls so far."""
        return [level for sigma in self._seen for level in sigma.tolist()]

    def tell(self) -> None:
        """A line where part of ``inner`` had no effect at any of them."""
        try:
            self.inner.check_asked(lambda: self.levels)
        except InputError as error:
            once(str(error))


@final
class Rehearsal(Heard):
    """``inner``'s place in a walk that asks no network: D = x / (1 + sigma^2), the mean of standard
    normal pictures, whose states stay finite. Fixed steps ask at the same levels whatever it is."""

    def forward(self, x: Tensor, sigma: Tensor, cond: Condition | None = None) -> Tensor:
        self._seen.append(sigma.flatten())
        level = sigma.to(x.device, x.dtype).reshape(-1, *[1] * (x.ndim - 1))
        return x / (1 + level**2)

    def encode(self, cond: Condition) -> Condition:
        return cond
