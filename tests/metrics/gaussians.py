"""Covariances whose Fréchet distance is known in closed form."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sde_diffusion.metrics.stats import FeatureStats

D = torch.float64


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rotation(d: int, seed: int) -> Tensor:
    return torch.linalg.qr(torch.randn(d, d, dtype=D, generator=generator(seed)))[0]


def spectrum(d: int, condition: float) -> Tensor:
    """d eigenvalues from 1 down to 1 / condition."""
    return condition ** -torch.linspace(0, 1, d, dtype=D)


def covariance(d: int, condition: float, seed: int) -> Tensor:
    q = rotation(d, seed)
    return (q * spectrum(d, condition)) @ q.T


def stats_of(cov: Tensor, mean: Tensor, n: int = 10**6) -> FeatureStats:
    return FeatureStats(n, mean, cov * (n - 1))


def transported(cov: Tensor, seed: int, spread: float = 10.0) -> tuple[Tensor, Tensor]:
    """S = T S_0 T, which does not commute with S_0 = cov, and tr (S_0^1/2 S S_0^1/2)^1/2.

    The trace is tr T S_0: T is the optimal transport map between them (Dowson & Landau 1982).
    """
    t = covariance(len(cov), spread, seed)
    return t @ cov @ t, (t @ cov).trace()


def rectified(mix: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of max(0, u), u ~ N(0, mix mix^T) (Cho & Saul 2009)."""
    cov = mix @ mix.T
    sd = cov.diagonal().sqrt()
    r = (cov / sd / sd[:, None]).clamp(-1, 1)
    mean = sd / math.sqrt(2 * math.pi)
    angle = (1 - r**2).clamp_min(0).sqrt() + r * (math.pi - r.acos())
    return mean, sd[:, None] * sd / (2 * math.pi) * angle - torch.outer(mean, mean)
