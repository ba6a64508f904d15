"""A denoiser around another one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.denoisers.timesteps import Timesteps


class Wrapper(Denoiser):
    """Asks ``inner``; space, range, cost and the count of evaluations are inner's."""

    def __init__(self, inner: Denoiser) -> None:
        super().__init__()
        self.inner = inner
        self.space = inner.space
        self.sigma_min = inner.sigma_min
        self.sigma_max = inner.sigma_max

    @property
    def evaluations(self) -> int:
        return self.inner.evaluations

    @property
    def backward_passes(self) -> int:
        return self.inner.backward_passes

    @property
    def cost(self) -> int:
        return self.inner.cost

    @property
    def asks_empty(self) -> bool:
        return self.inner.asks_empty

    @property
    def classes_of_guidance(self) -> int:
        return self.inner.classes_of_guidance

    @property
    def invertible(self) -> bool:
        return self.inner.invertible

    @property
    def ends(self) -> str:
        return self.inner.ends

    @property
    def table(self) -> Timesteps | None:
        return self.inner.table

    @property
    def identity(self) -> str:
        return self.inner.identity

    def encode(self, cond: Condition) -> Condition:
        return self.inner.encode(cond)

    def check_condition(self, cond: Condition | None) -> None:
        self.inner.check_condition(cond)

    def check_levels(self, low: float, high: float) -> None:
        self.inner.check_levels(low, high)

    def check_asked(self, levels: Callable[[], Sequence[float]]) -> None:
        self.inner.check_asked(levels)
