"""What guidance is: a way to ask a denoiser, and the denoiser that asks so."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import final

from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.denoisers.wrapper import Wrapper
from sde_diffusion.system.identity import Component
from sde_diffusion.system.names import name_of


class Guidance(Component, ABC, known_as="guidance"):
    """A way to ask any denoiser, free of noise and of the step that is taken; an object by itself.

    Attributes:
        calls: evaluations of the inner denoiser a row that one call spends.
        asks_empty: whether it asks for the empty side of a condition too.
        invertible: whether the probability flow can be run back under it.
        classes: how many labels it knows by itself.
    """

    calls: int = 1
    asks_empty: bool = False
    invertible: bool = True
    classes: int = 0

    @property
    def label(self) -> str:
        """Its name and numbers, as the identity of a guided denoiser has them."""
        fields = {**self.fields(), **self.content}
        arguments = ", ".join(f"{name}={value}" for name, value in fields.items())
        return f"{name_of(type(self))}({arguments})"

    @property
    def content(self) -> dict[str, str]:
        """What stands in the fields that name a model, by its content; here, none does."""
        return {}

    def check_condition(self, cond: Condition | None) -> None:
        """InputError, with the remedy, for a condition that it has no use for."""

    def check_levels(self, low: float, high: float) -> None:
        """InputError, with the remedy, where it does nothing at any noise level of a range."""

    def check_asked(self, levels: Callable[[], Sequence[float]]) -> None:
        """The same of single ``levels``, which guidance that acts at some alone asks for."""

    def passed_on(self, cond: Condition | None) -> Condition | None:
        """What it asks the inner denoiser under, in the place of ``cond``; here, the same."""
        return cond

    @property
    def evaluations(self) -> int:
        """Of networks of its own, so far."""
        return 0

    @property
    def backward_passes(self) -> int:
        """Of networks of its own, so far, one for each row."""
        return 0

    def opened(self, opener: Callable[[str], Denoiser]) -> Guidance:
        """Itself, with the models that it names opened; here, it names none."""
        return self

    @abstractmethod
    def __call__(self, inner: Denoiser, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
        """x [N, *shape], sigma 0-dim or [N] -> what is answered in inner's place [N, *shape]."""


@final
class Guided(Wrapper):
    """``inner``, asked as ``guidance`` says; space, range and evaluations are inner's."""

    def __init__(self, inner: Denoiser, guidance: Guidance) -> None:
        super().__init__(inner)
        guidance.check_levels(inner.sigma_min, inner.sigma_max)
        self.guidance = guidance

    @property
    def evaluations(self) -> int:
        return self.inner.evaluations + self.guidance.evaluations

    @property
    def backward_passes(self) -> int:
        return self.inner.backward_passes + self.guidance.backward_passes

    @property
    def cost(self) -> int:
        return self.guidance.calls * self.inner.cost

    @property
    def asks_empty(self) -> bool:
        return self.guidance.asks_empty or self.inner.asks_empty

    @property
    def classes_of_guidance(self) -> int:
        return self.guidance.classes or self.inner.classes_of_guidance

    @property
    def invertible(self) -> bool:
        return self.guidance.invertible and self.inner.invertible

    @property
    def identity(self) -> str:
        return f"{self.inner.identity} {self.guidance.label}" if self.inner.identity else ""

    def check_condition(self, cond: Condition | None) -> None:
        self.inner.check_condition(self.guidance.passed_on(cond))
        self.guidance.check_condition(cond)
        if cond is not None and cond.other is not None:
            self.inner.check_condition(cond.other)
        elif cond is not None and self.guidance.asks_empty:
            self.inner.check_condition(cond.empty)

    def check_levels(self, low: float, high: float) -> None:
        self.inner.check_levels(low, high)
        self.guidance.check_levels(low, high)

    def check_asked(self, levels: Callable[[], Sequence[float]]) -> None:
        self.inner.check_asked(levels)
        self.guidance.check_asked(levels)

    def forward(self, x: Tensor, sigma: Tensor, cond: Condition | None = None) -> Tensor:
        return self.guidance(self.inner, x, sigma, cond)


def contents(denoiser: Denoiser) -> list[dict[str, str]]:
    """What the guidance of a denoiser names, by content, the outermost first."""
    named = []
    while isinstance(denoiser, Guided):
        named += [denoiser.guidance.content] if denoiser.guidance.content else []
        denoiser = denoiser.inner
    return named


def guided(denoiser: Denoiser, guidance: Sequence[Guidance]) -> Denoiser:
    """The denoiser under all of them, the first one innermost."""
    for each in guidance:
        denoiser = Guided(denoiser, each)
    return denoiser
