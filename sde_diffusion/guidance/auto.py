"""Autoguidance: away from a worse model of the same data (arXiv:2406.02507)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, final

from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.errors import InputError
from sde_diffusion.guidance.base import Guidance
from sde_diffusion.system.ranges import Within


@final
class Auto(Guidance, known_as="guidance.auto"):
    """D = D_worse + scale (D - D_worse), both under the same condition: two evaluations.

    The worse model is a smaller one, or an early average of the same run. It aims at pictures that
    are more likely under the better model than under the worse, at no law.

    Karras et al., arXiv:2406.02507.

    Args:
        scale: 1 is the model alone.
        model: the worse model, a checkpoint or the name of a shipped one.
    """

    calls = 2

    def __init__(
        self, scale: Annotated[float, Within("-1000 <= scale <= 1000")] = 1.5, model: str = ""
    ) -> None:
        self.scale, self.model = scale, model
        self.worse: Denoiser | None = None

    @property
    def evaluations(self) -> int:
        return 0 if self.worse is None else self.worse.evaluations

    @property
    def content(self) -> dict[str, str]:
        return {} if self.worse is None else {"model": self.worse.identity}

    def opened(self, opener: Callable[[str], Denoiser]) -> Auto:
        if not self.model:
            raise InputError("guidance.auto.model: give the checkpoint of a worse model")
        self.worse = opener(self.model).requires_grad_(False)
        if self.worse.ends:
            raise InputError(
                f"guidance.auto.model={self.model}: a consistency or distilled model, whose "
                "answers are no means of images; give a denoiser of the same data"
            )
        return self

    def check_condition(self, cond: Condition | None) -> None:
        if self.worse is not None:
            try:
                self.worse.check_condition(None if cond is None else cond.raw())
            except InputError as error:
                raise InputError(f"guidance.auto.model={self.model}: {error}") from error

    def __call__(self, inner: Denoiser, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
        if self.worse is None:
            raise InputError(
                "guidance.auto.model: not opened; give the guidance to a task or a method of a "
                "model, which open what it names"
            )
        if self.worse.space.shape != inner.space.shape:
            raise InputError(
                f"guidance.auto.model={self.model}: draws {self.worse.space.shape}, not "
                f"{inner.space.shape}; give a model of the same data"
            )
        if self.worse.identity and self.worse.identity == inner.identity:
            raise InputError(
                f"guidance.auto.model={self.model}: the model itself, from which nothing leads "
                "away; give a worse one, or guidance=[]"
            )
        # What the better network's encoders have made of the condition is not for the worse one.
        worse = self.worse.to(x.device)(x, sigma, None if cond is None else cond.raw())
        return worse + self.scale * (inner(x, sigma, cond) - worse)
