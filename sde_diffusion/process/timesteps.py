"""The grids of models of discrete time and of rectified flows, as diffusers' schedulers lay them.

All end at zero, by a denoising at the last level, so that n evaluations of a solver with one a step
are n of the scheduler's steps.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from sde_diffusion.denoisers.timesteps import Timesteps
from sde_diffusion.errors import InputError
from sde_diffusion.process.grids import TimeGrid, beta_quantiles, power_spaced
from sde_diffusion.process.sde import SDE
from sde_diffusion.system.annotations import shown
from sde_diffusion.system.notice import printable
from sde_diffusion.system.ranges import OneOf, Within

SPACINGS = ("leading", "trailing", "linspace", "simple", "sgm_uniform", "beta")
LAYS = ("euler", "unipc", "dpm", "even", "once")
BETA = (0.6, 0.6)
SPREADS = ("none", "karras", "exponential", "beta")


def table_of(betas: Mapping[str, Any]) -> Timesteps:
    """``Timesteps`` of these arguments; InputError names the one at fault."""
    known = inspect.signature(Timesteps).parameters
    for name in betas:
        if name not in known:
            raise InputError(
                f"grid.betas.{name}: no argument of a table; choose among {', '.join(known)}"
            )
    try:
        return Timesteps(**betas)
    except InputError as error:
        raise InputError(f"grid.betas.{str(error).removeprefix('parameterization.')}") from None
    except (TypeError, ValueError) as error:
        reason = printable(error, 100)
        raise InputError(f"grid.betas={shown(betas)}: {reason}; give {{betas: linear}}") from None


def betas_within(low: float, high: float) -> str:
    """What to give for 1,000 levels from about ``low`` to ``high``, none beyond them."""
    other = "give another grid, grid=exponential"
    least = max(low, 1e-3)
    start = _rounded(least**2 / (1 + least**2), math.ceil)
    most = math.log1p(min(high, 157.0) ** 2)
    below, above = start, 0.9
    for _ in range(60):
        end = (below + above) / 2
        tried = -float(torch.linspace(start, end, 1000, dtype=torch.float64).neg().log1p().sum())
        below, above = (end, above) if tried < most else (below, end)
    # Small betas lose digits in float32, in which a table is made.
    given = {
        "beta_start": _rounded(1.02 * start, math.ceil),
        "beta_end": _rounded(below, math.floor),
    }
    if not given["beta_start"] < given["beta_end"]:
        return other
    fields = ",".join(f"{key}:{value}" for key, value in given.items())
    return f"{other}, or numbers for its levels, 'grid.betas={{{fields}}}'"


def _rounded(value: float, to: Callable[[float], int]) -> float:
    """Three digits of a number."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 2)
    return float(f"{to(value / unit) * unit:.3g}")


class ByTimestep(TimeGrid):
    """The noise levels of N numbers k of a discrete process, which are spread over 0 .. T-1.

    ``leading`` i (T // N) + offset, ``trailing`` round(T - i T / N) - 1, ``linspace`` i (T-1) /
    (N-1) (arXiv:2305.08891, table 2); and as ComfyUI lays them ``simple`` T - 1 - floor(i T / N),
    ``sgm_uniform`` the first N of N + 1 of ``linspace``, ``beta`` (T-1) q(1 - i / N) rounded, q the
    quantiles of a beta law of 0.6 and 0.6 (arXiv:2407.12173).

    Args:
        betas: of the process, by the names of ``DiscreteTime``'s arguments, {"betas":
            "scaled_linear", "beta_start": 0.00085}, say;
            None: those of the model where its files have some, else {"betas": "linear"}.
        spacing: one of these six. offset: of ``leading``.
        beyond: N + 1 numbers are laid and the smallest is left out, and a ``spread`` goes over all
            T levels, not those of the spacing: so do DPM-Solver++, UniPC, DEIS and SA-Solver.
        spread: ``karras``, ``exponential`` or ``beta``: as many levels between the same ends, by
            the formulas of ``spread``; ``none``: those of the numbers.
        to_zero: false: the walk ends at the least level of the process.
        unit_variance: see ``TimeGrid``.
    """

    def __init__(
        self,
        betas: Mapping[str, Any] | None = None,
        spacing: Annotated[str, OneOf(*SPACINGS)] = "trailing",
        offset: Annotated[int, Within("0 <= offset <= 100000")] = 0,
        beyond: bool = False,
        spread: Annotated[str, OneOf(*SPREADS)] = "none",
        to_zero: bool = True,
        unit_variance: bool = False,
    ) -> None:
        self.table = table_of(betas or {})
        if not 0 <= offset <= self.table.last:
            raise InputError(f"grid.offset={offset}: give 0 to {self.table.last}")
        self.betas, self.spacing, self.offset = betas, spacing, offset
        self.beyond, self.spread, self.to_zero = beyond, spread, to_zero
        self.unit_variance = unit_variance
        self.from_infinity = (
            self.table.zero_terminal_snr and spacing != "leading" and spread == "none"
        )
        super().__init__(self.table.sigma_min, self.table.sigma_max)
        if math.isinf(self.sigma_max) and not self.from_infinity:
            self.sigma_max = float(self.table.sigmas[-1])

    def fitted(self, low: float, high: float, brought: TimeGrid | None = None) -> TimeGrid:
        if self.betas is not None:
            return self
        if brought is None and not low <= self.sigma_min < self.sigma_max <= high:
            raise InputError(
                "grid.betas: this model brings no numbers of levels; " + betas_within(low, high)
            )
        if not isinstance(brought, ByTimestep | FlowShift):
            return self
        if isinstance(brought, FlowShift):
            raise InputError(
                "grid.betas: this model is a flow, which has none; give grid=flow_shift, or betas "
                "for its levels, grid.betas={betas: linear}"
            )
        return self.changed(betas=brought.betas)

    def within(self, low: float, high: float) -> str:
        return betas_within(low, high)

    def _times(self, sde: SDE, n: int) -> Tensor:
        count = n + self.to_zero + self.from_infinity
        levels = self.levels(count, self._top())
        if self.from_infinity:
            levels = levels[1:]
        if not self.to_zero:
            levels = torch.cat([levels, self.table.sigmas[:1]])
        if bool((levels.diff() >= 0).any()):
            raise InputError(
                f"nfe: {count} levels by {self.spacing} are not {count} different ones; give fewer"
            )
        return sde.time_at(levels)

    def _top(self) -> float:
        """T, or the number of the level that a walk starts from plus one."""
        if self.from_infinity or self.sigma_max >= float(self.table.sigmas[-1]):
            return self.table.last + 1.0
        return float(self.table.number(torch.tensor(self.sigma_max, dtype=torch.float64))) + 1

    def levels(self, count: int, top: float | None = None) -> Tensor:
        """``count`` falling noise levels, float64; the first is the last of the table, which is
        finite, also where a walk starts at infinity."""
        end = self.table.last + 1.0 if top is None else top
        if count > end:
            raise InputError(f"nfe={count}: the model has {end:g} levels; give at most as many")
        sigmas = self.table.level(self._numbers(count, end))
        if self.spread == "none":
            return sigmas
        ends = (
            self.table.sigmas[[-1, 0]] if self.beyond and end > self.table.last else sigmas[[0, -1]]
        )
        first, last = ends.to(torch.float64)
        unit = torch.linspace(0, 1, count, dtype=torch.float64)
        if self.spread == "karras":
            return power_spaced(first, last, unit, 7.0)
        if self.spread == "beta":
            return last + beta_quantiles(1 - unit, *BETA) * (first - last)
        return power_spaced(first.log(), last.log(), unit, 1.0).exp()

    def _numbers(self, count: int, end: float) -> Tensor:
        """k, falling, float64 [count]."""
        more = count + self.beyond
        if self.spacing == "trailing":
            k = np.round(end - np.arange(count) * (end / count)) - 1
        elif self.spacing == "leading":
            k = (np.arange(more) * (end // more))[::-1][:count] + self.offset
        elif self.spacing == "simple":
            k = end - 1 - np.floor(np.arange(count) * (end / count))
        elif self.spacing == "sgm_uniform":
            k = np.linspace(end - 1, 0, count + 1)[:-1]
        elif self.spacing == "beta":
            share = 1 - torch.arange(count, dtype=torch.float64) / count
            k = (beta_quantiles(share, *BETA).numpy() * (end - 1)).round()
        else:
            k = np.linspace(0, end - 1, more)[::-1][:count]
            k = k.round() if self.beyond else k
        return torch.from_numpy(np.minimum(k, end - 1).astype(np.float64))


class FlowShift(TimeGrid):
    """t' = s t / (1 + (s - 1) t) of N values t spread evenly, sigma = t' / (1 - t').

    (Stable Diffusion 3, arXiv:2403.03206, eq. 23.)

    Args:
        shift: s, 1 for none; in log sigma it is a shift by log s.
        timesteps: T. lay: the values t, as families of diffusers' schedulers lay them:
            ``euler`` from the noise itself, t = 1, down to 1 / T, shifted; ``once`` down to 1 / T,
            as ``euler`` where the shift is that of a size; ``unipc`` from 1 down to 1 / T, without
            the last of N + 1; ``dpm`` from 1 - 1 / T down to 0, without the last; ``even`` from 1
            down to 1 / N, as Flux lays them.
        by_tokens: [a, u, b, v]: the shift is e^mu, mu on the line through (a, u) and (b, v) at the
            number of tokens of a state, patches of 2 x 2: (256, 0.5, 4096, 1.15), say; ``shift`` is
            where no size is known.
    """

    to_zero = True

    def __init__(
        self,
        shift: Annotated[float, Within("1e-3 <= shift <= 1e3")] = 1.0,
        timesteps: Annotated[int, Within("2 <= timesteps <= 1000000")] = 1000,
        lay: Annotated[str, OneOf(*LAYS)] = "euler",
        by_tokens: Annotated[Sequence[float] | None, Within("-1e6 <= by_tokens <= 1e6")] = None,
    ) -> None:
        if by_tokens is not None and (len(by_tokens) != 4 or by_tokens[0] == by_tokens[2]):
            raise InputError("grid.by_tokens: give two numbers of tokens with their mu, a, u, b, v")
        self.shift, self.timesteps, self.lay = shift, timesteps, lay
        self.by_tokens = by_tokens
        self.from_infinity = lay != "dpm"
        least, most = self._level(self._shifted(self._value([1e-3 / timesteps, 1 - 1 / timesteps])))
        super().__init__(float(least), math.inf if self.from_infinity else float(most))

    @property
    def lay_by_size(self) -> str:
        """How t lie where the shift is that of a size: the least is not shifted beforehand."""
        return "once" if self.lay == "euler" else self.lay

    def sized(self, shape: Sequence[int]) -> TimeGrid:
        if self.by_tokens is None or len(shape) != 3:
            return self
        a, u, b, v = self.by_tokens
        tokens = shape[1] * shape[2] / 4
        shifted = FlowShift(
            math.exp(u + (v - u) * (tokens - a) / (b - a)), self.timesteps, self.lay
        )
        if not self.from_infinity and math.isinf(shifted.sigma_max):  # a walk that starts below
            shifted.sigma_max, shifted.from_infinity = self.sigma_max, False
        return shifted

    def _times(self, sde: SDE, n: int) -> Tensor:
        levels = self.levels(n + 1 + self.from_infinity)
        return sde.time_at(levels[1:] if self.from_infinity else levels)

    def levels(self, count: int) -> Tensor:
        """``count`` falling noise levels, float64, the first infinite where a walk starts there."""
        if self.lay == "dpm":
            t = torch.linspace(self._top(1 - 1 / self.timesteps), 0, count + 1, dtype=torch.float64)
            return self._level(self._shifted(t[:-1]))
        least = self._value([1 / count if self.lay == "even" else 1 / self.timesteps])
        if self.lay in ("even", "once"):
            t = torch.linspace(self._top(1.0), float(least), count, dtype=torch.float64)
        elif self.lay == "euler":
            t = torch.linspace(
                self._top(1.0), float(self._shifted(least)), count, dtype=torch.float64
            )
        else:
            t = torch.linspace(self._top(1.0), float(least), count + 1, dtype=torch.float64)[:-1]
        return self._level(self._shifted(t))

    def _top(self, usual: float) -> float:
        """The t that is shifted to where a walk starts, if that is a level on its way."""
        if self.from_infinity or (self.lay == "dpm" and self.sigma_max >= self._most()):
            return usual
        t = self.sigma_max / (1 + self.sigma_max)
        return t / (self.shift - (self.shift - 1) * t)

    def _most(self) -> float:
        return float(self._level(self._shifted(self._value([1 - 1 / self.timesteps]))))

    def _shifted(self, t: Tensor) -> Tensor:
        return self.shift * t / (1 + (self.shift - 1) * t)

    @staticmethod
    def _value(t: list[float]) -> Tensor:
        return torch.tensor(t, dtype=torch.float64)

    @staticmethod
    def _level(t: Tensor) -> Tensor:
        return t / (1 - t)
