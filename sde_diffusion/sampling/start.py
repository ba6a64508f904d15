"""Where sampling starts: at the prior, at noise of one's own, or at an image at some level."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import final

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.process.grids import TimeGrid
from sde_diffusion.process.sde import SDE, VP


class Start(ABC):
    """The first state of a batch.

    Attributes:
        level: the noise level sigma / alpha at which it stands; None: where the grid begins.
        n: noise of one's own [N, *shape], about N(0, I); None: that of the seeds, which is drawn
            only then.
    """

    level: float | None = None
    n: Tensor | None = None

    def rows(self, rows: slice) -> Start:
        """The starts of some rows."""
        return self

    def tensors(self) -> Iterator[Tensor]:
        """What rows of one seed may differ by: those of its attributes that are tensors."""
        return (value for value in vars(self).values() if isinstance(value, Tensor))

    @abstractmethod
    def state(self, sde: SDE, n: Tensor, t: Tensor) -> Tensor:
        """x_t [N, *shape] at the first time t of the grid.

        Args:
            n: the noise [N, *shape], one's own or that of the seeds.
            t: float64, 0-dim.
        """


@final
class Prior(Start):
    """x_t = sigma_t n, n from the seeds."""

    def state(self, sde: SDE, n: Tensor, t: Tensor) -> Tensor:
        return sde.prior(n, t)


@final
class FromNoise(Start):
    """x_t = sigma_t n for a noise n of one's own.

    Args:
        n: [N, *shape], about N(0, I).
    """

    def __init__(self, n: Tensor) -> None:
        self.n = n

    def rows(self, rows: slice) -> Start:
        assert self.n is not None
        return FromNoise(self.n[rows])

    def state(self, sde: SDE, n: Tensor, t: Tensor) -> Tensor:
        return sde.prior(n, t)


@final
class FromImage(Start):
    """x_t = alpha_t x_0 + sigma_t n at the time of a noise level: SDEdit (arXiv:2108.01073).

    Args:
        x_0: states [N, *shape] in the model's space.
        level: noise level sigma / alpha at which sampling starts.
    """

    def __init__(self, x_0: Tensor, level: float) -> None:
        self.x_0, self.level = x_0, level

    def rows(self, rows: slice) -> Start:
        assert self.level is not None
        return FromImage(self.x_0[rows], self.level)

    def state(self, sde: SDE, n: Tensor, t: Tensor) -> Tensor:
        return sde.perturb(self.x_0.to(n), t, n)


PRIOR = Prior()
STRENGTH = 0.6  # of a picture, where nothing else is asked for


def unheard(strength: float) -> InputError:
    """The refusal of a strength where no picture is given that it could be of."""
    return InputError(
        f"strength={strength}: of the noise on a picture, and none is given; give start=PICTURE, "
        "or leave it out"
    )


def level_of(strength: float, most: float) -> float:
    """The noise level of a strength, sigma / alpha of the published VP process at t = strength.

    So .6 is the noise after 600 of 1000 steps of DDPM, as in other front ends; 1 is ``most``.

    Args:
        strength: 0 < strength <= 1. most: the level that a grid begins at, which bounds it.
    """
    if not 0 < strength <= 1:
        raise InputError(f"strength={strength}: give 0 < strength <= 1, .6, say")
    t = torch.tensor(strength, dtype=torch.float64)
    return most if strength == 1 else min(most, float(VP().noise_level(t)))


def of_each(x_0: Tensor, n: int) -> Tensor:
    """Images [n, *shape] of one, or of n; InputError for another number."""
    if len(x_0) not in (1, n):
        raise InputError(f"start: {len(x_0)} pictures for {n} images; give one, or n={len(x_0)}")
    return x_0.expand(n, *x_0.shape[1:])


def image_start(x_0: Tensor, strength: float, grid: TimeGrid) -> Start:
    """The start at images x_0 [N, *shape] of a strength on a grid; the prior where it is 1."""
    level = level_of(strength, grid.sigma_max)
    return PRIOR if level >= grid.sigma_max else FromImage(x_0, level)
