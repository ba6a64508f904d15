"""Denoisers: D(x, sigma, cond) = E[x_0 | x_0 + sigma n = x, cond], free of any SDE."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import final

from torch import Tensor, nn

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.space import Space
from sde_diffusion.denoisers.timesteps import Timesteps
from sde_diffusion.errors import InputError


class Denoiser(nn.Module, ABC):
    """A denoiser of one space, that may be asked within a range of noise levels.

    Attributes:
        space: where its states live, and their shape.
        sigma_min, sigma_max: the noise levels it may be asked at.
        precision: of its network's products, if it has one: ``float32`` or ``bfloat16``.
        tiles: calls of the network for one of its own, where it draws a picture in parts.
        evaluations: network calls so far, one for each row of each batch. A wrapper counts
            nothing itself: guidance that calls the network twice a row counts two.
    """

    space: Space
    sigma_min: float
    sigma_max: float
    precision: str = "float32"
    tiles: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one state; InputError where the space has several."""
        return self.space.shape

    @property
    @abstractmethod
    def evaluations(self) -> int: ...

    @property
    def backward_passes(self) -> int:
        """Derivatives of its answers by x so far, one for each row of each backward pass."""
        return 0

    @property
    def cost(self) -> int:
        """Network evaluations a row of one call spends: 1, or 2 under classifier-free guidance."""
        return 1

    @property
    def convolutional(self) -> int:
        """Of what sides of pictures are multiples, where it may be asked at any size; else 0."""
        return 0

    def seamless(self) -> Denoiser:
        """The same on a torus; InputError where its network is not of convolutions alone."""
        raise InputError(
            "seamless: only a network of convolutions alone, without attention and positions, can "
            "be wrapped around; leave it out, or train one with network=unet_texture"
        )

    @property
    def asks_empty(self) -> bool:
        """Whether it asks for the other side of a condition too, from which it leads away."""
        return False

    @property
    def classes_of_guidance(self) -> int:
        """How many labels guidance around it knows, where the network may know none; 0 if none."""
        return 0

    @property
    def invertible(self) -> bool:
        """Whether its probability flow can be run back: not where values are clipped."""
        return True

    @property
    def ends(self) -> str:
        """The solver that alone draws it where it answers with an end of the path through x, as a
        consistency or distilled model does, in the place of the mean of x_0; empty if it does not.
        """
        return ""

    @property
    def table(self) -> Timesteps | None:
        """Its noise levels by number, where its network was trained on those of betas."""
        return None

    @property
    def identity(self) -> str:
        """What was trained, by content, and what was wrapped around it; empty if not known."""
        return ""

    @abstractmethod
    def forward(self, x: Tensor, sigma: Tensor, cond: Condition | None = None) -> Tensor:
        """x [N, *shape], sigma 0-dim or [N] -> D(x, sigma, cond) [N, *shape], dtype of x.

        A level that all rows share lies on the host, where it is a plain number to every kernel;
        levels a row lie where x does. Those on a device are not read: who makes them keeps them
        within the range.
        """

    def encode(self, cond: Condition) -> Condition:
        """The condition with what its network can compute of it once for all calls."""
        return cond

    def check_condition(self, cond: Condition | None) -> None:
        """InputError, with the remedy, for a condition that cannot be answered.

        Asked once, before rows are drawn, since calls do not read the device.
        """

    def check_levels(self, low: float, high: float) -> None:
        """InputError, with the remedy, where part of it has no effect at any level from ``low`` to
        ``high``, between which all calls will lie."""

    def check_asked(self, levels: Callable[[], Sequence[float]]) -> None:
        """InputError, with the remedy, where part of it has no effect at any of the ``levels`` of
        all calls, which are found only for a part that acts at some alone."""


class CountedDenoiser(Denoiser):
    """A denoiser that does its own work: refuses levels out of range, counts its evaluations."""

    def __init__(self, space: Sequence[int] | Space, sigma_min: float, sigma_max: float) -> None:
        super().__init__()
        self.space = Space.of(space)
        self.sigma_min = sigma_min
        self.sigma_max = sigma_max
        self._evaluations = self._backward_passes = 0

    @property
    def evaluations(self) -> int:
        return self._evaluations

    @property
    def backward_passes(self) -> int:
        return self._backward_passes

    @abstractmethod
    def denoise(self, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
        """D(x, sigma, cond) for sigma within range, 0-dim or broadcast-shaped [N, 1, ...]."""

    @final  # type: ignore[misc]  # nn.Module declares forward as an attribute
    def forward(self, x: Tensor, sigma: Tensor, cond: Condition | None = None) -> Tensor:
        self._check_range(sigma)
        self._evaluations += x.shape[0]
        if sigma.ndim:
            sigma = sigma.to(x.device).reshape(-1, *[1] * (x.ndim - 1))
        answer = self.denoise(x, sigma, cond).to(x.dtype)
        if x.requires_grad and answer.requires_grad:
            answer.register_hook(self._count_backward)
        return answer

    def _count_backward(self, gradient: Tensor) -> None:
        self._backward_passes += len(gradient)

    def _check_range(self, sigma: Tensor) -> None:
        if sigma.device.type != "cpu":
            return
        low = float(sigma.min() if sigma.ndim else sigma)
        high = float(sigma.max() if sigma.ndim else sigma)
        # The slack is the rounding of sigma / alpha, not a tolerance on the model's range.
        if not (low >= self.sigma_min * (1 - 1e-6) and high <= self.sigma_max * (1 + 1e-6)):
            wrong = low if low < self.sigma_min else high
            raise InputError(
                f"grid: noise level {wrong:.4g} is outside the model's "
                f"training range {self.sigma_min:g} .. {self.sigma_max:g}; "
                "set grid.sigma_min / grid.sigma_max within it"
            )


def check_means(denoiser: Denoiser) -> None:
    """InputError for a model whose answers are no means of x_0, on which a solver of the flow is
    wrong."""
    if denoiser.ends:
        raise InputError(
            "solver: the model is a consistency or distilled one, which is no denoiser, and "
            f"solvers of its flow are wrong; draw it in its own few steps, "
            f"solver={denoiser.ends} nfe=4"
        )
