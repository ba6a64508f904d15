"""What guidance is: a denoiser made of another denoiser."""

from __future__ import annotations

from abc import abstractmethod
from typing import final

from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser


class Guidance(Denoiser):
    """A denoiser that asks ``inner``; range, shape and the count of evaluations are inner's."""

    def __init__(self, inner: Denoiser) -> None:
        super().__init__()
        self.inner = inner
        self.space = inner.space
        self.sigma_min = inner.sigma_min
        self.sigma_max = inner.sigma_max

    @final
    @property
    def evaluations(self) -> int:
        return self.inner.evaluations

    @property
    def cost(self) -> int:
        return self.inner.cost

    @property
    def invertible(self) -> bool:
        return self.inner.invertible

    @property
    def identity(self) -> str:
        return f"{self.inner.identity} {self.label}".rstrip() if self.inner.identity else ""

    @property
    def label(self) -> str:
        """Its name and numbers, if it changes what is answered."""
        return ""

    @abstractmethod
    def forward(self, x: Tensor, sigma: Tensor, cond: Condition | None = None) -> Tensor: ...
