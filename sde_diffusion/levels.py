"""Which noise levels sigma a network is trained on."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor


class NoiseLevels(ABC):
    """A distribution of sigma, given as a quantile function of u ~ U(0, 1)."""

    @abstractmethod
    def sigma(self, u: Tensor) -> Tensor:
        """u in (0, 1) [N] -> sigma [N]."""


class LogNormal(NoiseLevels):
    """log sigma ~ N(mean, std^2) (EDM, arXiv:2206.00364, table 1)."""

    def __init__(self, mean: float = -1.2, std: float = 1.2) -> None:
        self.mean = mean
        self.std = std

    def sigma(self, u: Tensor) -> Tensor:
        return torch.exp(self.mean + self.std * torch.special.ndtri(u))


class LogUniform(NoiseLevels):
    """log sigma uniform between the two ends: what t ~ U(0, 1) of a VE SDE gives."""

    def __init__(self, sigma_min: float = 0.002, sigma_max: float = 80.0) -> None:
        self.sigma_min = sigma_min
        self.sigma_max = sigma_max

    def sigma(self, u: Tensor) -> Tensor:
        return self.sigma_min * (self.sigma_max / self.sigma_min) ** u
