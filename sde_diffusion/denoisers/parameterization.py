"""What a network predicts, and how its output becomes the denoised image.

In the coordinates x = x_0 + sigma n every choice is one affine map (EDM, arXiv:2206.00364, eq. 7)

    D(x, sigma) = c_skip(sigma) x + c_out(sigma) F(c_in(sigma) x, c_noise(sigma))

and the published loss of each choice is a weight on |D - x_0|^2. Nothing else in the package
knows the words epsilon, v or Karras.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, NamedTuple, TypeVar, final

import torch
from torch import Tensor

from sde_diffusion.denoisers.timesteps import Timesteps
from sde_diffusion.errors import InputError
from sde_diffusion.system.identity import Component
from sde_diffusion.system.names import name_of
from sde_diffusion.system.ranges import Within


class Scalars(NamedTuple):
    """A parameterization at one noise level, as Python numbers."""

    c_skip: float
    c_out: float
    c_in: float
    c_noise: float


class Parameterization(Component, ABC, known_as="parameterization"):
    """c_skip, c_out, c_in, c_noise and the loss weight, each a function of sigma.

    ``exact_label``: whether c_noise is told in float32 at least, whatever the network's dtype: in
    bfloat16 a label above 512 moves in steps of 4.
    ``ends``: the solver that alone draws it where D is the answer of a distilled network, an end of
    a path and no mean of x_0: ``consistency`` or ``tcd``; empty for a denoiser.
    ``table``: its noise levels by number, where it was trained on those of betas.
    """

    exact_label: bool = False
    ends: str = ""
    table: Timesteps | None = None

    @abstractmethod
    def c_skip(self, sigma: Tensor) -> Tensor:
        """What of x is in D, at noise levels ``sigma`` of any shape."""

    @abstractmethod
    def c_out(self, sigma: Tensor) -> Tensor:
        """What of the network's answer F is in D."""

    @abstractmethod
    def c_in(self, sigma: Tensor) -> Tensor:
        """Scale of x where the network sees it."""

    def c_noise(self, sigma: Tensor) -> Tensor:
        """The noise level as the network is told it, log(sigma) / 4 (EDM, table 1)."""
        return sigma.log() / 4

    def weight(self, sigma: Tensor) -> Tensor:
        """lambda(sigma) on |D - x_0|^2; 1 / c_out^2 is unit weight on the network's output."""
        return self.c_out(sigma) ** -2

    def at_infinity(self) -> Scalars:
        """The limit at sigma = infinity for x = sigma n, which is then given as the noise n itself:
        sigma c_skip, c_out, sigma c_in, c_noise. InputError where there is none."""
        raise InputError(
            f"grid.sigma_max=inf: {name_of(type(self))} has no answer at an infinite noise level; "
            "give a finite one, grid.sigma_max=80"
        )

    @final
    def scalars(self, sigma: float) -> Scalars:
        """All but the weight at one level, computed once: sampling asks again for each batch."""
        return _scalars(self, sigma)


@lru_cache(maxsize=4096)
def _scalars(p: Parameterization, sigma: float) -> Scalars:
    if math.isinf(sigma):
        return p.at_infinity()
    level = torch.tensor(sigma, dtype=torch.float64)
    return Scalars(*(float(c(level)) for c in (p.c_skip, p.c_out, p.c_in, p.c_noise)))


class KarrasPreconditioning(Parameterization):
    """EDM preconditioning (arXiv:2206.00364, table 1).

    Args:
        sigma_data: root mean square of the data's values.
    """

    def __init__(
        self, sigma_data: Annotated[float, Within("1e-6 <= sigma_data <= 1e6")] = 0.5
    ) -> None:
        self.sigma_data = sigma_data

    def c_skip(self, sigma: Tensor) -> Tensor:
        return self.sigma_data**2 / (sigma**2 + self.sigma_data**2)

    def c_out(self, sigma: Tensor) -> Tensor:
        return sigma * self.sigma_data / (sigma**2 + self.sigma_data**2).sqrt()

    def c_in(self, sigma: Tensor) -> Tensor:
        return 1 / (sigma**2 + self.sigma_data**2).sqrt()


class EpsilonPrediction(Parameterization):
    """F predicts the noise n: D = x - sigma F (DDPM, arXiv:2006.11239)."""

    def c_skip(self, sigma: Tensor) -> Tensor:
        return torch.ones_like(sigma)

    def c_out(self, sigma: Tensor) -> Tensor:
        return -sigma

    def c_in(self, sigma: Tensor) -> Tensor:
        return 1 / (1 + sigma**2).sqrt()


class VPrediction(Parameterization):
    """F predicts v = alpha n - s x_0, alpha^2 + s^2 = 1, s / alpha = sigma (arXiv:2202.00512)."""

    def c_skip(self, sigma: Tensor) -> Tensor:
        return 1 / (1 + sigma**2)

    def c_out(self, sigma: Tensor) -> Tensor:
        return -sigma / (1 + sigma**2).sqrt()

    def c_in(self, sigma: Tensor) -> Tensor:
        return 1 / (1 + sigma**2).sqrt()

    def at_infinity(self) -> Scalars:
        return Scalars(0.0, -1.0, 1.0, math.inf)


class FlowPrediction(Parameterization):
    """F predicts u = n - x_0, the velocity of x_t = (1 - t) x_0 + t n (arXiv:2209.03003, eq. 1).

    With sigma = t / (1 - t) this is D = x_t - t u, x_t = x / (1 + sigma). The weight is that of
    |F - u|^2 under any distribution of t; a logit-normal one (arXiv:2403.03206, section 3.1) is a
    log-normal sigma of the same mean and standard deviation.
    """

    def c_skip(self, sigma: Tensor) -> Tensor:
        return 1 / (1 + sigma)

    def c_out(self, sigma: Tensor) -> Tensor:
        return -sigma / (1 + sigma)

    def c_in(self, sigma: Tensor) -> Tensor:
        return 1 / (1 + sigma**2).sqrt()


class DataPrediction(Parameterization):
    """F predicts x_0 itself: D = F."""

    def c_skip(self, sigma: Tensor) -> Tensor:
        return torch.zeros_like(sigma)

    def c_out(self, sigma: Tensor) -> Tensor:
        return torch.ones_like(sigma)

    def c_in(self, sigma: Tensor) -> Tensor:
        return 1 / (1 + sigma**2).sqrt()

    def at_infinity(self) -> Scalars:
        return Scalars(0.0, 1.0, 1.0, math.inf)


class ScorePrediction(Parameterization):
    """F predicts the score of x_0 + sigma n: D = x + sigma^2 F (arXiv:2011.13456, eq. 7).

    The weight 1 / sigma^2 on D is the paper's lambda = sigma^2 on the score.
    """

    def c_skip(self, sigma: Tensor) -> Tensor:
        return torch.ones_like(sigma)

    def c_out(self, sigma: Tensor) -> Tensor:
        return sigma**2

    def c_in(self, sigma: Tensor) -> Tensor:
        return 1 / (1 + sigma**2).sqrt()

    def weight(self, sigma: Tensor) -> Tensor:
        return sigma**-2


# By the names that checkpoints store.
PARAMETERIZATIONS: dict[str, type[Parameterization]] = {
    "karras": KarrasPreconditioning,
    "epsilon": EpsilonPrediction,
    "v": VPrediction,
    "flow": FlowPrediction,
    "x0": DataPrediction,
    "score": ScorePrediction,
}
P = TypeVar("P", bound=type[Parameterization])


def register(name: str) -> Callable[[P], P]:
    """Class decorator: make a parameterization known under ``name``, which checkpoints store."""

    def add(cls: P) -> P:
        if PARAMETERIZATIONS.setdefault(name, cls) is not cls:
            raise ValueError(f"parameterization {name!r} is registered twice")
        return cls

    return add


def registered(parameterization: Parameterization) -> str:
    """The name that checkpoints store for it; InputError for a class of another package."""
    for name, cls in PARAMETERIZATIONS.items():
        if type(parameterization) is cls:
            return name
    raise InputError(
        f"parameterization={name_of(type(parameterization))}: has no name that a checkpoint could "
        f"store; choose one of {', '.join(PARAMETERIZATIONS)}"
    )
