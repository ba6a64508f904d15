"""What a network is told of the noise level: label functions of sigma, as data of a model.

They are taken in the arithmetic of those who trained the network: float32 where they work with
sigma itself, float64 where a table gives whole steps. An infinite sigma has a label too.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from sde_diffusion.denoisers.timesteps import Timesteps
from sde_diffusion.errors import InputError
from sde_diffusion.system.identity import Component
from sde_diffusion.system.spelling import none_of

# What a refusal calls the label function of a parameterization.
KEY = "parameterization.label"
# What labels call the schedules of ``Timesteps``; the betas that are given replace theirs.
SCHEDULES = {
    "linear": "linear",
    "scaled_linear": "scaled_linear",
    "cosine": "squaredcos",
    "sigmoid": "sigmoid",
    "given": "linear",
}


class LevelLabel(Component, ABC):
    """A label c_noise(sigma)."""

    @abstractmethod
    def __call__(self, sigma: Tensor) -> Tensor:
        """sigma, any shape -> labels of the same shape."""


class LogLabel(LevelLabel):
    """factor log(sigma / unit): EDM factor 1/4, score_sde's VE factor 1 and unit 2."""

    def __init__(self, factor: float = 0.25, unit: float = 1.0) -> None:
        self.factor, self.unit = factor, unit

    def __call__(self, sigma: Tensor) -> Tensor:
        return self.factor * (sigma.float() / self.unit).log()


class VPTimeLabel(LevelLabel):
    """factor t, where sigma^2 = exp(beta_d t^2 / 2 + beta_min t) - 1 (arXiv:2011.13456, app. B).

    With ``sub`` sigma / alpha = 2 sinh(B / 2) for the same exponent B: the sub-VP process.
    ``exact``: in float64, as of those who know t; EDM works it out of sigma in float32.
    """

    def __init__(
        self,
        factor: float = 999.0,
        beta_d: float = 19.9,
        beta_min: float = 0.1,
        sub: bool = False,
        exact: bool = False,
    ) -> None:
        self.factor, self.beta_d, self.beta_min = factor, beta_d, beta_min
        self.sub, self.exact = sub, exact

    def __call__(self, sigma: Tensor) -> Tensor:
        s = sigma.double() if self.exact else sigma.float()
        if self.sub:
            exponent = 2 * torch.asinh(s / 2)
        else:
            exponent = torch.log1p(s**2) if self.exact else (1 + s**2).log()
        t = (self.beta_min**2 + 2 * self.beta_d * exponent).sqrt() - self.beta_min
        return self.factor * (t / self.beta_d)


class FlowTimeLabel(LevelLabel):
    """factor t, t = sigma / (1 + sigma) of x_t = (1 - t) x_0 + t n; ``clean``: factor (1 - t)."""

    def __init__(self, factor: float = 1000.0, clean: bool = False) -> None:
        self.factor, self.clean = factor, clean

    def __call__(self, sigma: Tensor) -> Tensor:
        s = sigma.double()
        return self.factor * (1 / (1 + s) if self.clean else 1 / (1 + 1 / s))


class StepLabel(LevelLabel):
    """The step 0 .. T - 1 whose sigma^2 = (1 - a) / a, a = prod (1 - beta); between, in log sigma.

    Args:
        schedule: ``linear`` or ``scaled_linear`` (linear in sqrt beta) from ``beta_start`` to
            ``beta_end``, ``cosine`` (arXiv:2102.09672, eq. 17, beta <= 0.999), ``sigmoid``, or
            ``given``.
        steps: T. betas: of ``given``.
        dtype: in which its authors multiply, float32 or float64.
        zero_snr: whether sqrt a is shifted and scaled so that the last is 0 (arXiv:2305.08891).
    """

    def __init__(
        self,
        schedule: str = "linear",
        beta_start: float = 1e-4,
        beta_end: float = 0.02,
        steps: int = 1000,
        betas: Sequence[float] = (),
        dtype: str = "float64",
        zero_snr: bool = False,
    ) -> None:
        if schedule not in SCHEDULES:
            raise none_of(f"{KEY}.schedule", schedule, SCHEDULES)
        if dtype not in ("float32", "float64"):
            raise InputError(f"{KEY}.dtype={dtype}: choose float32 or float64")
        if (schedule == "given") != bool(len(betas)):
            raise InputError(
                f"{KEY}.betas: give numbers in 0 .. 1, with label.schedule=given alone"
            )
        kind, trained = SCHEDULES[schedule], list(betas) or None
        self.table = Timesteps(kind, beta_start, beta_end, steps, trained, zero_snr, dtype)

    @classmethod
    def of(cls, table: Timesteps) -> StepLabel:
        """Of levels that are made already."""
        label = cls()
        label.table = table
        return label

    @property
    def sigmas(self) -> Tensor:
        """sigma of each step, float64 [T], increasing; finite, also where the last is not."""
        return self.table.sigmas

    def __call__(self, sigma: Tensor) -> Tensor:
        return self.table.number(sigma)


class NearestLabel(LevelLabel):
    """steps - 1 - j of the nearest level u_j of improved DDPM (arXiv:2206.00364, table 1)."""

    def __init__(self, steps: int = 1000, c_1: float = 0.001, c_2: float = 0.008) -> None:
        if not 2 <= steps <= 100_000:
            raise InputError(f"{KEY}.steps={steps}: give 2 to 100000")
        self.steps, self.c_1, self.c_2 = steps, c_1, c_2

    @cached_property
    def levels(self) -> Tensor:
        """u_0 > ... > u_steps = 0, float32, in which EDM makes and compares them."""
        j = torch.arange(self.steps + 1)
        a = (0.5 * math.pi * j / self.steps / (self.c_2 + 1)).sin() ** 2
        u = torch.zeros(self.steps + 1)
        for k in range(self.steps, 0, -1):
            u[k - 1] = ((u[k] ** 2 + 1) / (a[k - 1] / a[k]).clip(min=self.c_1) - 1).sqrt()
        return u

    def __call__(self, sigma: Tensor) -> Tensor:
        apart = (sigma.float().cpu().reshape(-1, 1) - self.levels).abs()
        return (self.steps - 1 - apart.argmin(1)).reshape(sigma.shape).to(sigma.device)


LABELS: dict[str, type[LevelLabel]] = {
    "log": LogLabel,
    "vp_time": VPTimeLabel,
    "flow_time": FlowTimeLabel,
    "steps": StepLabel,
    "nearest": NearestLabel,
}


def level_label(label: Mapping[str, Any]) -> LevelLabel:
    """The label function that plain values name: ``{"kind": "log", "factor": 0.25}``."""
    arguments = dict(label)
    kind = arguments.pop("kind", None)
    if kind not in LABELS:
        raise none_of(f"{KEY}.kind", kind, LABELS)
    try:
        return LABELS[str(kind)](**arguments)
    except (TypeError, ValueError) as error:
        raise InputError(f"{KEY}.kind={kind}: {error}") from error
