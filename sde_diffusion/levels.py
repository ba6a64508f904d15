"""Which noise levels sigma a network is trained on."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.sde import SDE


class NoiseLevels(ABC):
    """A distribution of sigma, given as a quantile function of u ~ U(0, 1)."""

    @abstractmethod
    def sigma(self, u: Tensor) -> Tensor:
        """u in (0, 1) [N] -> sigma [N], dtype of u, increasing in u."""

    @final
    def quantiles(self) -> list[str]:
        """sigma at u = 10, 50 and 90 %, four digits: what tells two distributions apart."""
        u = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
        return [f"{value:.4g}" for value in self.sigma(u).tolist()]


class LogNormal(NoiseLevels):
    """log sigma ~ N(mean, std^2) (EDM, arXiv:2206.00364, table 1)."""

    def __init__(self, mean: float = -1.2, std: float = 1.2) -> None:
        if not std > 0:
            raise InputError(f"levels.std={std}: give a number > 0")
        self.mean = mean
        self.std = std

    def sigma(self, u: Tensor) -> Tensor:
        return torch.exp(self.mean + self.std * torch.special.ndtri(u))


class LogUniform(NoiseLevels):
    """log sigma uniform between the two ends: what t ~ U(0, 1) of a VE SDE gives."""

    def __init__(self, sigma_min: float = 0.002, sigma_max: float = 80.0) -> None:
        if not 0 < sigma_min < sigma_max:
            raise InputError(
                f"levels.sigma_min={sigma_min}: give 0 < sigma_min < sigma_max={sigma_max}"
            )
        self.sigma_min = sigma_min
        self.sigma_max = sigma_max

    def sigma(self, u: Tensor) -> Tensor:
        return self.sigma_min * (self.sigma_max / self.sigma_min) ** u


class FromSDE(NoiseLevels):
    """sigma(t) / alpha(t) of an SDE at t ~ U(t_min, t_max) (arXiv:2011.13456, eq. 7).

    t_max is the end of the process, or the time at which it reaches ``sigma_max`` if that comes
    first (rectified flow and EDM have no finite end). t_min and t_max are in the SDE's own time.
    """

    def __init__(self, sde: SDE, t_min: float = 1e-3, sigma_max: float = 80.0) -> None:
        if not sigma_max > 0:
            raise InputError(f"levels.sigma_max={sigma_max}: give a number > 0")
        lam = torch.tensor(-math.log(sigma_max), dtype=torch.float64)
        self.t_max = min(sde.t_max, float(sde.time(lam)))
        if not 0 < t_min < self.t_max:
            raise InputError(f"levels.t_min={t_min}: give a time between 0 and {self.t_max:.4g}")
        self.sde = sde
        self.t_min = t_min
        self.sigma_max = sigma_max

    def sigma(self, u: Tensor) -> Tensor:
        t = self.t_min + (self.t_max - self.t_min) * u.to(torch.float64)
        return self.sde.noise_level(t).to(u.dtype)
