"""Linear SDEs dx = f(t) x dt + g(t) dw, given by marginals x_t ~ N(alpha(t) x_0, sigma(t)^2 I).

A subclass states alpha, sigma and the inverse of the half log-SNR; drift, diffusion and prior
follow. The published f and g^2 of each process are tests, not a second implementation.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, final

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.system.identity import Component
from sde_diffusion.system.ranges import Within

# Noise levels sigma / alpha, of grids, processes and models, and the rates of VP processes.
SigmaMin = Annotated[float, Within("1e-9 <= sigma_min < sigma_max")]
SigmaMax = Annotated[float, Within("sigma_max <= 1e9")]
BetaMin = Annotated[float, Within("1e-9 <= beta_min < beta_max")]
BetaMax = Annotated[float, Within("beta_max <= 1000")]


@dataclass(frozen=True)
class Marginal:
    """x_t ~ N(alpha x_0, sigma^2 I) at time t, as the Python numbers that a step is made of.

    lam: half log-SNR log(alpha / sigma). noise_level: sigma / alpha.
    """

    t: float
    alpha: float
    sigma: float

    @property
    def lam(self) -> float:
        return math.log(self.alpha) - math.log(self.sigma)

    @property
    def noise_level(self) -> float:
        return self.sigma / self.alpha


class SDE(Component, ABC, known_as="sde"):
    """A linear forward process on 0 < t <= t_max; times are float64 tensors of any shape."""

    t_max: float = 1.0

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """Scale of x_0 in x_t."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """Standard deviation of the noise in x_t."""

    @abstractmethod
    def time(self, lam: Tensor) -> Tensor:
        """The time t at which log(alpha / sigma) = lam."""

    @final
    def lam(self, t: Tensor) -> Tensor:
        """Half log-SNR log(alpha / sigma), decreasing in t."""
        return self.alpha(t).log() - self.sigma(t).log()

    @final
    def noise_level(self, t: Tensor) -> Tensor:
        """sigma / alpha: the noise level of x_t / alpha, which is what a denoiser is asked at."""
        return self.sigma(t) / self.alpha(t)

    @final
    def time_at(self, noise_level: Tensor) -> Tensor:
        """Inverse of ``noise_level``; InputError beyond what the process reaches."""
        t = self.time(-noise_level.log())
        if float(t.max()) > self.t_max * (1 + 1e-9):
            reach = float(self.noise_level(torch.tensor(self.t_max, dtype=torch.float64)))
            raise InputError(
                f"sde: {type(self).__name__} reaches noise level {reach:.4g}, not "
                f"{float(noise_level.max()):g}; lower grid.sigma_max or widen the sde"
            )
        return t

    @final
    def f(self, t: Tensor) -> Tensor:
        """Drift coefficient f = d log(alpha) / dt."""
        return _slope(lambda u: self.alpha(u).log(), t)

    @final
    def g2(self, t: Tensor) -> Tensor:
        """Squared diffusion g^2 = -2 sigma^2 d lam / dt (Kingma et al., arXiv:2107.00630)."""
        return -2 * self.sigma(t) ** 2 * _slope(self.lam, t)

    @final
    def marginals(self, times: Tensor) -> list[Marginal]:
        """The marginals at ``times`` [n]."""
        alphas, sigmas = self.alpha(times).tolist(), self.sigma(times).tolist()
        return [Marginal(*row) for row in zip(times.tolist(), alphas, sigmas, strict=True)]

    @final
    def perturb(self, x_0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x_t = alpha(t) x_0 + sigma(t) n, shapes of x_0; t 0-dim or [N]."""
        t = t if t.ndim == 0 else t.reshape(-1, *[1] * (x_0.ndim - 1))
        return self.alpha(t).to(x_0) * x_0 + self.sigma(t).to(x_0) * noise

    @final
    def prior(self, noise: Tensor, t: Tensor) -> Tensor:
        """Start of the reverse process at time t: sigma(t) n."""
        return self.sigma(t).to(noise) * noise


def _slope(fn: Callable[[Tensor], Tensor], t: Tensor) -> Tensor:
    """d fn / dt of an elementwise function; also where gradients are switched off."""
    with torch.inference_mode(False), torch.enable_grad():
        u = t.detach().clone().requires_grad_()
        # A constant function would have no graph: 0 u gives it one.
        return torch.autograd.grad((fn(u) + 0 * u).sum(), u)[0]


class _BetaSDE(SDE):
    """beta(t) = beta_min + t (beta_max - beta_min); alpha = exp(-1/2 int_0^t beta)."""

    def __init__(self, beta_min: BetaMin = 0.1, beta_max: BetaMax = 20.0) -> None:
        self.beta_min = beta_min
        self.beta_max = beta_max

    def integral(self, t: Tensor) -> Tensor:
        """int_0^t beta(u) du."""
        return self.beta_min * t + 0.5 * (self.beta_max - self.beta_min) * t**2

    def alpha(self, t: Tensor) -> Tensor:
        return torch.exp(-0.5 * self.integral(t))

    def _invert(self, integral: Tensor) -> Tensor:
        slope = self.beta_max - self.beta_min
        return 2 * integral / (self.beta_min + (self.beta_min**2 + 2 * slope * integral).sqrt())


class VP(_BetaSDE):
    """Variance preserving, sigma^2 = 1 - alpha^2 (Song et al., arXiv:2011.13456, eq. 11).

    Args:
        beta_min, beta_max: beta(t) at t = 0 and 1, straight between them: alpha^2 = exp(-integral
            of beta).
    """

    def sigma(self, t: Tensor) -> Tensor:
        return (-torch.expm1(-self.integral(t))).sqrt()

    def time(self, lam: Tensor) -> Tensor:
        return self._invert(torch.nn.functional.softplus(-2 * lam))


class SubVP(_BetaSDE):
    """Sub-variance preserving, sigma = 1 - alpha^2 (arXiv:2011.13456, eq. 13).

    Args:
        beta_min, beta_max: beta(t) at t = 0 and 1, straight between them: alpha^2 = exp(-integral
            of beta).
    """

    def sigma(self, t: Tensor) -> Tensor:
        return -torch.expm1(-self.integral(t))

    def time(self, lam: Tensor) -> Tensor:
        # 1 - alpha^2 = alpha e^-lam has the root alpha = exp(-asinh(e^-lam / 2)).
        return self._invert(2 * torch.asinh(torch.exp(-lam) / 2))


class VE(SDE):
    """Variance exploding, sigma = sigma_min (sigma_max / sigma_min)^t (arXiv:2011.13456, eq. 9).

    The published CIFAR-10 range 0.01 .. 50 is for data in [0, 1]: 0.02 .. 100 in [-1, 1].

    Args:
        sigma_min, sigma_max: noise levels at t = 0 and 1.
    """

    def __init__(self, sigma_min: SigmaMin = 0.002, sigma_max: SigmaMax = 100.0) -> None:
        self.sigma_min = sigma_min
        self.sigma_max = sigma_max

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        return self.sigma_min * torch.exp(t * math.log(self.sigma_max / self.sigma_min))

    def time(self, lam: Tensor) -> Tensor:
        return (-lam - math.log(self.sigma_min)) / math.log(self.sigma_max / self.sigma_min)


class CosineVP(SDE):
    """alpha = cos(pi/2 (t+s)/(1+s)) / cos(pi/2 s/(1+s)), sigma^2 = 1 - alpha^2.

    Nichol & Dhariwal, arXiv:2102.09672, eq. 17.

    Args:
        s: offset that keeps the noise from growing too slowly near t = 0.
    """

    def __init__(self, s: Annotated[float, Within("0 <= s < 1")] = 0.008) -> None:
        self.s = s
        self.theta_0 = math.pi / 2 * s / (1 + s)

    def _theta(self, t: Tensor) -> Tensor:
        return self.theta_0 + t * (math.pi / 2 - self.theta_0)

    def alpha(self, t: Tensor) -> Tensor:
        # sin(pi/2 - theta) keeps its digits where cos(theta) goes to 0.
        return torch.sin((1 - t) * (math.pi / 2 - self.theta_0)) / math.cos(self.theta_0)

    def sigma(self, t: Tensor) -> Tensor:
        # cos^2 a - cos^2 b = sin(b - a) sin(b + a), without the cancellation of 1 - alpha^2.
        theta = self._theta(t)
        product = torch.sin(theta - self.theta_0) * torch.sin(theta + self.theta_0)
        return product.sqrt() / math.cos(self.theta_0)

    def time(self, lam: Tensor) -> Tensor:
        alpha = torch.sigmoid(2 * lam).sqrt()
        sigma2 = torch.sigmoid(-2 * lam)
        cos, sin = math.cos(self.theta_0), math.sin(self.theta_0)
        theta = torch.atan2((sin**2 + sigma2 * cos**2).sqrt(), alpha * cos)
        exact = torch.asin((sigma2 * cos**2 / torch.sin(theta + self.theta_0)).clamp(max=1.0))
        away = torch.where(theta < math.pi / 4, exact, theta - self.theta_0)
        return away / (math.pi / 2 - self.theta_0)


class EDM(SDE):
    """alpha = 1, sigma = t (Karras et al., arXiv:2206.00364)."""

    t_max = math.inf

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        return t

    def time(self, lam: Tensor) -> Tensor:
        return torch.exp(-lam)


class RectifiedFlow(SDE):
    """alpha = 1 - t, sigma = t: the straight path to noise (Liu et al., arXiv:2209.03003)."""

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        return t

    def time(self, lam: Tensor) -> Tensor:
        return torch.sigmoid(-lam)
