"""Where sampling starts: at the prior, at noise of one's own, or at an image at some level."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

from torch import Tensor

from sde_diffusion.process.sde import SDE


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
