"""What the tests of solvers share: solvers as the command line builds them, and targets."""

from __future__ import annotations

import torch
from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.config.compose import build
from sde_diffusion.denoisers.base import CountedDenoiser
from sde_diffusion.denoisers.closed_form import GaussianDenoiser, MixtureDenoiser
from sde_diffusion.exact import relative_error
from sde_diffusion.process.grids import Karras, TimeGrid
from sde_diffusion.process.noise import Noise, Seeds
from sde_diffusion.process.sde import EDM, SDE, VE, VP, CosineVP, RectifiedFlow, SubVP
from sde_diffusion.solvers.base import Solver
from tests.solvers.configs import NAMES, compose

__all__ = ["NAMES", "compose"]

SDES: dict[str, SDE] = {
    "vp": VP(), "subvp": SubVP(), "ve": VE(), "cosine": CosineVP(), "edm": EDM(),
    "flow": RectifiedFlow(),
}  # fmt: skip
VARIANCE = torch.tensor([1.0, 0.25, 0.04, 0.0025], dtype=torch.float64)
MEAN = torch.tensor([0.3, -0.5, 0.2, 0.1], dtype=torch.float64)


def make(name: str, *overrides: str) -> tuple[Solver, TimeGrid]:
    """The solver and its default grid, as the command line would build them."""
    node, named = compose(name, *overrides)
    solver: Solver = build(node, "solver", Solver)
    return solver, solver.grid or build(named, "grid", TimeGrid)


def walked(solver: Solver, rho: float = 7.0) -> TimeGrid:
    """Karras's grid, or the only one that the solver walks."""
    return solver.grid or Karras(rho)


class Forbidden(Noise):
    """No noise may be drawn."""

    def fresh(self) -> Tensor:
        raise AssertionError("a deterministic solver drew noise")

    def normal(self, t: float, s: float) -> Tensor:
        raise AssertionError("a deterministic solver drew noise")

    def entropy(self) -> list[int]:
        raise AssertionError("a deterministic solver drew noise")


class Impulses(Noise):
    """The k-th draw is one in row k + 2 and zero elsewhere; rows 0 and 1 stay silent."""

    def __init__(self, rows: int, d: int) -> None:
        self.rows, self.d, self.drawn = rows, d, 0

    def fresh(self) -> Tensor:
        z = torch.zeros(self.rows, self.d, dtype=torch.float64)
        z[self.drawn + 2] = 1
        self.drawn += 1
        return z

    def normal(self, t: float, s: float) -> Tensor:
        return self.fresh()

    def entropy(self) -> list[int]:
        raise AssertionError("a linear solver asked for random numbers of its own")


class Averaged(Noise):
    """Rows 0 and 1 draw for themselves; row 2 gets the mean of what they drew."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.inner = Seeds().batch([1, 2], shape, torch.float64)

    def fresh(self) -> Tensor:
        return with_mean(self.inner.fresh())

    def normal(self, t: float, s: float) -> Tensor:
        return self.fresh()

    def entropy(self) -> list[int]:
        return [1, 2, 3]


def with_mean(rows: Tensor) -> Tensor:
    """Rows [2, d] and their mean below them."""
    return torch.cat([rows, rows.mean(0, keepdim=True)])


def gaussian() -> GaussianDenoiser:
    return GaussianDenoiser(VARIANCE, MEAN)


class Labelled(CountedDenoiser):
    """A Gaussian a class, of opposite means; each row is asked with its own label."""

    def __init__(self) -> None:
        super().__init__(MEAN.shape, 0.002, 80.0)

    def denoise(self, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
        assert cond is not None
        assert len(cond) == len(x)
        mean = (1 - 2 * cond.parts["label"].value[:, None]) * MEAN
        return mean + VARIANCE / (VARIANCE + sigma**2) * (x - mean)


def mixture() -> MixtureDenoiser:
    """Two unlike components in four dimensions: a denoiser that is far from linear.

    Like a network it refuses to be asked beyond the noise levels of the grids.
    """
    weights = torch.tensor([0.3, 0.7], dtype=torch.float64)
    means = torch.stack([MEAN, -MEAN.flip(0)])
    found = MixtureDenoiser(weights, means, torch.stack([VARIANCE, 0.1 * VARIANCE.flip(0)]))
    found.sigma_min, found.sigma_max = 0.002, 80.0
    return found


def error(solver: Solver, sde: SDE, times: Tensor) -> float:
    """Relative distance of the solver's exact law to that of the process."""
    return relative_error(solver, sde, times, VARIANCE, MEAN)
