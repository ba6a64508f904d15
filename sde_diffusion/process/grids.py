"""Time grids: decreasing times t_0 > ... > t_n between two noise levels sigma / alpha.

The ends are noise levels, so that one comparison shares them across all SDEs and solvers.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, final

import torch
from torch import Tensor

from sde_diffusion.config import groups
from sde_diffusion.errors import InputError
from sde_diffusion.process.sde import SDE, VP, BetaMax, BetaMin, SigmaMax, SigmaMin
from sde_diffusion.system.identity import Component
from sde_diffusion.system.ranges import Within

Rho = Annotated[float, Within("0.05 <= rho <= 1000")]
MOST_STEPS = 1_000_000
# What a noise level may lose on its way to a time and back.
ROUNDING = 1e-6


class TimeGrid(Component, ABC, known_as="grid"):
    """n + 1 times of an SDE, from noise level sigma_max down to sigma_min > 0.

    Attributes:
        from_infinity: a walk begins with the noise itself, at an infinite level: a denoising of it,
            one evaluation, leads to the first of the times.
        to_image: the last step of a walk leads to an image, not to a state at the last level.
        to_zero: a walk ends with a denoising, one evaluation, at the last of the times.
        own_steps: how many steps its levels make, if they are given one by one; else None.
        unit_variance: states at both ends are those of a process of variance 1, as in most of
            diffusers' schedulers: the first is the noise itself, not sigma / sqrt(1 + sigma^2) of
            it, and the last is taken as it stands where the walk ends above zero.
    """

    from_infinity: bool = False
    to_image: bool = False
    to_zero: bool = False
    own_steps: int | None = None
    unit_variance: bool = False

    def __init__(self, sigma_min: SigmaMin = 0.002, sigma_max: SigmaMax = 80.0) -> None:
        self.sigma_min = sigma_min
        self.sigma_max = sigma_max

    @final
    def times(self, sde: SDE, n: int) -> Tensor:
        """Decreasing float64 times [n + 1] of ``sde``; InputError where they cannot be told
        apart."""
        if not 1 <= n <= MOST_STEPS:
            raise InputError(
                f"grid: {n} steps; give an nfe that makes from 1 to {MOST_STEPS} of them"
            )
        times = self._times(sde, n)
        if not bool((times.diff() < 0).all()):
            raise InputError(
                f"grid: {n} steps from {self.sigma_max:g} to {self.sigma_min:g} cannot be told "
                f"apart in the times of {type(sde).__name__}; give a smaller nfe, or levels wider "
                "apart"
            )
        return times

    def sized(self, shape: Sequence[int]) -> TimeGrid:
        """The grid for states of this shape, where it depends on their size."""
        return self

    def fitted(self, low: float, high: float, brought: TimeGrid | None = None) -> TimeGrid:
        """The grid for a model of noise levels ``low`` to ``high``, where a field leaves it to it.

        Args:
            brought: the grid of the model's own files.
        """
        return self

    @final
    def check(self, low: float, high: float) -> None:
        """InputError unless the levels are within those that a model knows, ``low`` to ``high``."""
        if self.sigma_min < low * (1 - ROUNDING) or self.sigma_max > high * (1 + ROUNDING):
            raise InputError(
                f"grid.sigma_min={self.sigma_min:g}, grid.sigma_max={self.sigma_max:g}: outside "
                f"the model's training range {low:g} .. {high:g}; {self.within(low, high)}"
            )

    def within(self, low: float, high: float) -> str:
        """What to give in place of this grid for levels within ``low`` to ``high``."""
        if not {"sigma_min", "sigma_max"} <= set(self.fields()):
            return "give another grid, grid=exponential"
        words = []
        if self.sigma_min < low:
            words.append(f"grid.sigma_min={inward(low, 1):g}")
        if self.sigma_max > high:
            words.append(f"grid.sigma_max={inward(high, -1):g}")
        name = groups.named("grid", self)
        return f"give {' '.join([f'grid={name}', *words] if name else words)}"

    def starting_at(self, level: float) -> TimeGrid:
        """The same grid from noise level ``level`` down; InputError outside its own range."""
        if not self.sigma_min < level <= self.sigma_max:
            raise InputError(
                f"start.level={level:g}: outside the grid, {self.sigma_min:g} .. "
                f"{self.sigma_max:g}; give a level within it"
            )
        shorter = copy.copy(self)
        shorter.sigma_max, shorter.from_infinity = level, False
        return shorter

    @final
    def start_factor(self, level: float) -> float:
        """Of the first state sigma n, at noise level ``level``."""
        return math.hypot(1, 1 / level) if self.unit_variance else 1.0

    @final
    def end_factor(self, level: float) -> float:
        """Of the last state x / alpha, where it is not denoised."""
        to_state = self.unit_variance and not self.to_image
        return 1 / math.hypot(1, level) if to_state else 1.0

    @final
    def _unit(self, n: int) -> Tensor:
        return torch.linspace(0, 1, n + 1, dtype=torch.float64)

    @final
    def _ends(self) -> Tensor:
        return torch.tensor([self.sigma_max, self.sigma_min], dtype=torch.float64)

    @abstractmethod
    def _times(self, sde: SDE, n: int) -> Tensor: ...


def inward(level: float, side: int) -> float:
    """A level in four digits, none below it for ``side`` 1, none above it for -1."""
    unit = 10.0 ** (math.floor(math.log10(level)) - 3)
    steps = level / unit
    return (math.ceil(steps - ROUNDING) if side > 0 else math.floor(steps + ROUNDING)) * unit


def power_spaced(first: Tensor, last: Tensor, u: Tensor, rho: float) -> Tensor:
    """(first^(1/rho) + u (last^(1/rho) - first^(1/rho)))^rho, both ends exact."""
    a, b = first ** (1 / rho), last ** (1 / rho)
    values = (a + u * (b - a)) ** rho
    values[0], values[-1] = first, last
    return values


def beta_quantiles(share: Tensor, alpha: float, beta: float) -> Tensor:
    """The quantiles at ``share``, 0 to 1, float64, of a beta law."""
    from scipy.special import betaincinv  # drawing by other grids shall not wait for it

    return torch.from_numpy(betaincinv(alpha, beta, share.numpy()))


class Uniform(TimeGrid):
    """Uniform in the SDE's own time.

    Args:
        sigma_min, sigma_max: noise levels sigma / alpha at the end and at the start of the walk.
    """

    def _times(self, sde: SDE, n: int) -> Tensor:
        first, last = sde.time_at(self._ends())
        return power_spaced(first, last, self._unit(n), 1.0)


class Karras(TimeGrid):
    """Noise levels uniform in sigma^(1/rho) (EDM, arXiv:2206.00364, eq. 5).

    Args:
        rho: larger puts more levels near sigma_min; 1 is even in sigma.
        sigma_min, sigma_max: noise levels sigma / alpha at the end and at the start of the walk.
    """

    def __init__(
        self, rho: Rho = 7.0, sigma_min: SigmaMin = 0.002, sigma_max: SigmaMax = 80.0
    ) -> None:
        super().__init__(sigma_min, sigma_max)
        self.rho = rho

    def _times(self, sde: SDE, n: int) -> Tensor:
        first, last = self._ends()
        return sde.time_at(power_spaced(first, last, self._unit(n), self.rho))


class LogSNR(TimeGrid):
    """Uniform in lam = log(alpha / sigma) (DPM-Solver, arXiv:2206.00927, section 3.3).

    Args:
        sigma_min, sigma_max: noise levels sigma / alpha at the end and at the start of the walk.
    """

    def _times(self, sde: SDE, n: int) -> Tensor:
        first, last = self._ends().log()
        levels = power_spaced(first, last, self._unit(n), 1.0).exp()
        levels[0], levels[-1] = self._ends()
        return sde.time_at(levels)


class VPTime(TimeGrid):
    """Uniform in tau^(1/rho), tau the time of a VP SDE, the standard one (arXiv:2204.13902).

    Args:
        rho: 1 is even in tau; 2 puts more levels at small tau.
        sigma_min, sigma_max: noise levels sigma / alpha at the end and at the start of the walk.
        beta_min, beta_max: of that VP SDE, beta(tau) at tau = 0 and 1.
    """

    def __init__(
        self,
        rho: Rho = 2.0,
        sigma_min: SigmaMin = 0.002,
        sigma_max: SigmaMax = 80.0,
        beta_min: BetaMin = 0.1,
        beta_max: BetaMax = 20.0,
    ) -> None:
        super().__init__(sigma_min, sigma_max)
        self.rho = rho
        self.vp = VP(beta_min, beta_max)

    def _times(self, sde: SDE, n: int) -> Tensor:
        first, last = self.vp.time(-self._ends().log())
        levels = self.vp.noise_level(power_spaced(first, last, self._unit(n), self.rho))
        levels[0], levels[-1] = self._ends()
        return sde.time_at(levels)


class Explicit(TimeGrid):
    """A given list of decreasing noise levels, of which each but the last is the start of a step.

    ``inf`` as the first begins with the noise itself, 0 as the last ends with a denoising: so n
    levels above 0 are n evaluations of a solver with one a step.

    Args:
        levels: noise levels sigma / alpha, falling.
    """

    def __init__(self, levels: Annotated[Sequence[float], Within("0 <= levels <= inf")]) -> None:
        walked = [level for level in levels if 0 < level < math.inf]
        if len(walked) < 2 or any(a <= b for a, b in pairwise(levels)):
            raise InputError(
                f"grid.levels={list(levels)}: give at least two strictly decreasing noise levels"
            )
        if not 1e-9 <= walked[-1] < walked[0] <= 1e9:
            raise InputError(f"grid.levels={levels}: give levels from 1e-9 to 1e9, 0 or inf")
        super().__init__(walked[-1], walked[0])
        self.levels, self.walked = list(levels), walked
        self.from_infinity, self.to_zero = levels[0] == math.inf, levels[-1] == 0
        self.own_steps = len(walked) - 1
        self.sigma_max = math.inf if self.from_infinity else walked[0]

    def within(self, low: float, high: float) -> str:
        return "give levels within it, or another grid, grid=exponential"

    def starting_at(self, level: float) -> TimeGrid:
        """From ``level`` through those of the list that are below it."""
        return Explicit([level, *(known for known in self.levels if known < level)])

    def _times(self, sde: SDE, n: int) -> Tensor:
        if n != self.own_steps:
            raise InputError(
                f"grid: {len(self.walked)} levels above 0 make {self.own_steps} steps, nfe "
                f"makes {n}; give an nfe that makes {self.own_steps}, or another list"
            )
        return sde.time_at(torch.tensor(self.walked, dtype=torch.float64))
