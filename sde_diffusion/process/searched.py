"""The time grid that suits a data set best, searched by dynamic programming: no network is run."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from scipy.interpolate import PchipInterpolator
from torch import Tensor

from sde_diffusion.process.grids import TimeGrid
from sde_diffusion.process.sde import SDE, SigmaMax, SigmaMin
from sde_diffusion.process.spectrum import DataSpectrum, natural_image_variances
from sde_diffusion.system.ranges import OneOf

NODES = 192  # fine steps, uniform in log sigma, that a grid may end its own at
BINS = 32  # groups of like modes
RANGE = 1e-8  # modes of less than this share of the largest variance count as one
U, WEIGHTS = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(16))
U, WEIGHTS = 0.5 * (1 + U), 0.5 * WEIGHTS


class Searched(TimeGrid):
    """The n steps over ``NODES`` fine levels with the least sum of squared local errors.

    A cost of a path that is a sum over its steps is minimised by dynamic programming (Watson et
    al., arXiv:2106.03802). Here the cost of a step t -> s is closed: with x on the exact path of a
    Gaussian's mode, x = sqrt(L + sigma^2), the step of an exponential multistep solver of order p
    that has just taken steps of the same length in lam,

        x_s = sigma_s / sigma_t x + int e^(lam - lam_s) P(lam) dlam,

    P the polynomial through D at lam_t, lam_t - h, ..., is off by a known share e of the exact
    x_s. The flow of a Gaussian carries a share unchanged to the end: the cost is sum_k (L_k +
    sigma_min^2) e_k^2. The first step is of order 1.

    For n above ``NODES`` / 8 the fine levels are too coarse to choose from: the grid of NODES / 8
    steps is refined, by a monotone cubic through its log sigma.

    Args:
        order: p of the solver that is meant: 1 DDIM, 2 or 3 multistep.
        spectrum: a file of ``sde-diffusion analyse``, or a ``DataSpectrum``; null: small natural
            images.
        sigma_min, sigma_max: noise levels sigma / alpha at the end and at the start of the walk.
    """

    def __init__(
        self,
        order: Annotated[int, OneOf(1, 2, 3)] = 2,
        spectrum: str | DataSpectrum | None = None,
        sigma_min: SigmaMin = 0.002,
        sigma_max: SigmaMax = 80.0,
    ) -> None:
        super().__init__(sigma_min, sigma_max)
        self.order = order
        variance = natural_image_variances()
        if isinstance(spectrum, DataSpectrum):
            variance = spectrum.variance
        elif spectrum is not None:
            variance = DataSpectrum.load(Path(spectrum), "grid.spectrum").variance
        self.modes = binned(variance)

    def _times(self, sde: SDE, n: int) -> Tensor:
        log_levels, cost = step_costs(self.modes, self.order, self.sigma_min, self.sigma_max)
        chosen = log_levels[cheapest_path(cost, min(n, NODES // 8))]
        levels = refined(chosen, n).exp()
        levels[0], levels[-1] = self._ends()
        return sde.time_at(levels)


def binned(variance: Tensor) -> tuple[tuple[float, float], ...]:
    """Modes in groups of like variance: (mean variance, count) of each."""
    v = variance.clamp_min(float(variance.max()) * RANGE)
    ends = v.log().aminmax()
    edges = torch.linspace(float(ends.min), float(ends.max), BINS + 1, dtype=torch.float64)[1:-1]
    group = torch.bucketize(v.log(), edges)
    count = torch.bincount(group, minlength=BINS).double()
    total = torch.zeros(BINS, dtype=torch.float64).index_add_(0, group, v)
    return tuple((float(t / c), float(c)) for t, c in zip(total, count, strict=True) if c > 0)


@lru_cache(maxsize=16)
def step_costs(
    modes: tuple[tuple[float, float], ...], order: int, sigma_min: float, sigma_max: float
) -> tuple[Tensor, Tensor]:
    """log sigma of the fine levels [NODES + 1], and the cost of a step from each to each later one
    [NODES + 1, NODES + 1], infinite elsewhere."""
    log_levels = torch.linspace(
        math.log(sigma_max), math.log(sigma_min), NODES + 1, dtype=torch.float64
    )
    variance, count = (torch.tensor(c, dtype=torch.float64) for c in zip(*modes, strict=True))
    weight = count * (variance + sigma_min**2)
    i, j = torch.triu_indices(NODES + 1, NODES + 1, 1)
    costs = torch.full((NODES + 1, NODES + 1), math.inf, dtype=torch.float64)
    for p, rows in ((order, i > 0), (1, i == 0)):
        error = local_error(variance[:, None], log_levels[i[rows]], log_levels[j[rows]], p)
        costs[i[rows], j[rows]] = weight @ error.square()
    return log_levels, costs


def local_error(variance: Tensor, log_t: Tensor, log_s: Tensor, p: int) -> Tensor:
    """x_s / exact - 1 [K, J] after one step from sigma_t to sigma_s [J], modes' variance [K, 1]."""
    h = log_t - log_s
    total = torch.exp(-h) * (variance + torch.exp(2 * log_t)).sqrt()
    for k in range(p):
        # The Lagrange polynomial of the node k steps back, in units of h from t.
        basis = torch.ones_like(U)
        for m in (m for m in range(p) if m != k):
            basis = basis * (U + m) / (m - k)
        gain = h * (torch.exp((U - 1) * h[:, None]) @ (WEIGHTS * basis))
        total = total + gain * variance / (variance + torch.exp(2 * (log_t + k * h))).sqrt()
    return total / (variance + torch.exp(2 * log_s)).sqrt() - 1


def cheapest_path(cost: Tensor, n: int) -> list[int]:
    """The n + 1 nodes from the first to the last whose n steps cost least together."""
    best, back = cost[0], []
    for _ in range(n - 1):
        best, before = (best[:, None] + cost).min(0)
        back.append(before)
    path = [len(cost) - 1]
    for before in reversed(back):
        path.append(int(before[path[-1]]))
    return [0, *reversed(path)]


def refined(values: Tensor, n: int) -> Tensor:
    """``values`` if they are n + 1, else n + 1 values on the monotone cubic through them."""
    if len(values) == n + 1:
        return values
    cubic = PchipInterpolator(np.linspace(0, 1, len(values)), values.numpy())
    return torch.from_numpy(cubic(np.linspace(0, 1, n + 1)))
