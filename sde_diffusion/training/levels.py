"""Which noise levels sigma a network is trained on."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Annotated, final

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.process.sde import SDE, SigmaMax, SigmaMin
from sde_diffusion.system.identity import Component
from sde_diffusion.system.ranges import Within


class NoiseLevels(Component, ABC, known_as="levels"):
    """A distribution of sigma: its quantile function of u ~ U(0, 1), and its density."""

    @abstractmethod
    def sigma(self, u: Tensor) -> Tensor:
        """u in (0, 1) [N] -> sigma [N], dtype of u, increasing in u."""

    @abstractmethod
    def density(self, sigma: Tensor) -> Tensor:
        """q(log sigma) = du / d log sigma at levels [N] between the ends, dtype of sigma."""

    @final
    def quantiles(self) -> list[str]:
        """sigma at u = 10, 50 and 90 %, four digits: what tells two distributions apart."""
        u = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
        return [f"{value:.4g}" for value in self.sigma(u).tolist()]


class LogNormal(NoiseLevels):
    """log sigma ~ N(mean, std^2) (EDM, arXiv:2206.00364, table 1).

    Args:
        mean, std: of log sigma.
    """

    def __init__(
        self,
        mean: Annotated[float, Within("-20 <= mean <= 20")] = -1.2,
        std: Annotated[float, Within("1e-3 <= std <= 20")] = 1.2,
    ) -> None:
        self.mean = mean
        self.std = std

    def sigma(self, u: Tensor) -> Tensor:
        return torch.exp(self.mean + self.std * torch.special.ndtri(u))

    def density(self, sigma: Tensor) -> Tensor:
        z = (sigma.log() - self.mean) / self.std
        return torch.exp(-(z**2) / 2) / (self.std * math.sqrt(2 * math.pi))


class LogUniform(NoiseLevels):
    """log sigma uniform between the two ends: what t ~ U(0, 1) of a VE SDE gives.

    Args:
        sigma_min, sigma_max: the two ends, noise levels.
    """

    def __init__(self, sigma_min: SigmaMin = 0.002, sigma_max: SigmaMax = 80.0) -> None:
        self.sigma_min = sigma_min
        self.sigma_max = sigma_max

    def sigma(self, u: Tensor) -> Tensor:
        return self.sigma_min * (self.sigma_max / self.sigma_min) ** u

    def density(self, sigma: Tensor) -> Tensor:
        return torch.full_like(sigma, 1 / math.log(self.sigma_max / self.sigma_min))


def _rate(sde: SDE, sigma: Tensor) -> Tensor:
    """d log sigma / dt of the noise level at float64 levels: g^2 / (2 sigma_t^2)."""
    t = sde.time(-sigma.log())
    return sde.g2(t) / (2 * sde.sigma(t) ** 2)


class FromSDE(NoiseLevels):
    """sigma(t) / alpha(t) of an SDE at t ~ U(t_min, t_max) (arXiv:2011.13456, eq. 7).

    t_max is the end of the process, or the time at which it reaches ``sigma_max`` if that comes
    first (rectified flow and EDM have no finite end). t_min and t_max are in the SDE's own time.

    Args:
        sde: whose times are drawn.
        t_min: least time. sigma_max: largest noise level.
    """

    def __init__(
        self,
        sde: SDE,
        t_min: float = 1e-3,
        sigma_max: Annotated[float, Within("1e-9 <= sigma_max <= 1e9")] = 80.0,
    ) -> None:
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

    def density(self, sigma: Tensor) -> Tensor:
        rate = _rate(self.sde, sigma.to(torch.float64))
        return (1 / ((self.t_max - self.t_min) * rate)).to(sigma.dtype)


class Importance(NoiseLevels):
    """Times of an SDE drawn in proportion to the weight of the likelihood.

    p(t) ~ g^2 / sigma_t^2, held constant below the time of level ``sigma_flat``, because it goes
    to infinity at t = 0 (Song et al. 2021, arXiv:2101.09258, section 5.1). Since g^2 / sigma_t^2 =
    2 d log sigma / dt of the noise level sigma = sigma_t / alpha_t, this is for *every* SDE

        q(log sigma) = 1 / Z                        above sigma_flat: log-uniform
        q(log sigma) = rate(sigma_flat) / rate / Z  below it: uniform in t, rate = d log sigma / dt

    Weighted by the likelihood, an error of |D - x_0|^2 ~ sigma^2 then counts the same at each
    level above ``sigma_flat``. With ``sigma_flat`` <= ``sigma_min`` nothing is held constant and
    the SDE does not matter. ``sigma_max`` is lowered to what the process reaches.

    Args:
        sde: whose times are drawn.
        sigma_flat: noise level below which p(t) is held constant.
        sigma_min, sigma_max: ends, noise levels.
    """

    def __init__(
        self,
        sde: SDE,
        sigma_flat: Annotated[float, Within("0 < sigma_flat < sigma_max")] = 0.01,
        sigma_min: SigmaMin = 0.002,
        sigma_max: SigmaMax = 80.0,
    ) -> None:
        reach = math.inf
        if math.isfinite(sde.t_max):
            reach = float(sde.noise_level(torch.tensor(sde.t_max, dtype=torch.float64)))
        self.sigma_max = min(sigma_max, reach)
        if not 0 < sigma_min < self.sigma_max:
            raise InputError(
                f"levels.sigma_min={sigma_min}: give 0 < sigma_min < {self.sigma_max:.4g}"
            )
        if not 0 < sigma_flat < self.sigma_max:
            raise InputError(
                f"levels.sigma_flat={sigma_flat}: give a level between 0 and {self.sigma_max:.4g}"
            )
        self.sde = sde
        self.sigma_flat = max(sigma_flat, sigma_min)
        self.sigma_min = sigma_min
        low, flat = torch.tensor([sigma_min, self.sigma_flat], dtype=torch.float64)
        self.t_min = float(sde.time(-low.log()))
        self.rate = float(_rate(sde, flat))
        below = self.rate * (float(sde.time(-flat.log())) - self.t_min)
        self.total = below + math.log(self.sigma_max / self.sigma_flat)
        self.share = below / self.total

    def sigma(self, u: Tensor) -> Tensor:
        mass = u.to(torch.float64) * self.total
        # Where the other branch is taken its argument is moved to the border.
        border = self.share * self.total
        flat = self.sde.noise_level(self.t_min + mass.clamp(max=border) / self.rate)
        log_uniform = self.sigma_flat * (mass - border).clamp(min=0).exp()
        return torch.where(mass < border, flat, log_uniform).to(u.dtype)

    def density(self, sigma: Tensor) -> Tensor:
        rate = _rate(self.sde, sigma.to(torch.float64).clamp(max=self.sigma_flat))
        return (self.rate / (rate * self.total)).to(sigma.dtype)
