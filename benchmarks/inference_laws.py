"""Laws with known moments, for ``inference.py``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

D, F64 = 64, torch.float64
CLASSES = 10
Moments = tuple[Tensor, Tensor]
Draw = Callable[[int, torch.Generator], Tensor]


@dataclass(frozen=True)
class Family:
    """Two laws with known moments: samples of either, the labels of the first if it has any."""

    moments: Moments
    moments_0: Moments
    draw: Draw
    draw_0: Draw
    classes: int | None = None

    @property
    def true(self) -> float:
        """The true distance."""
        (m, cov), (m_0, cov_0) = self.moments, self.moments_0
        root = torch.linalg.cholesky(cov_0)
        roots = torch.linalg.eigvalsh(root.T @ cov @ root).sqrt().sum()
        return float((m - m_0).square().sum() + cov.trace() + cov_0.trace() - 2 * roots)


def seeded(seed: int) -> torch.Generator:
    """A generator."""
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int) -> Tensor:
    """Standard normal, float64."""
    return torch.randn(*shape, dtype=F64, generator=seeded(seed))


def covariance(condition: float, seed: int) -> Tensor:
    """Eigenvalues from 1 to 1 / condition on random axes."""
    q = torch.linalg.qr(normal(D, D, seed=seed))[0]
    return (q * condition ** -torch.linspace(0, 1, D, dtype=F64)) @ q.T


def noise(n: int, g: torch.Generator) -> Tensor:
    """Gaussian."""
    return torch.randn(n, D, dtype=F64, generator=g)


def exponential(n: int, g: torch.Generator) -> Tensor:
    """Unit exponentials less one: covariance I, fourth moment 9."""
    return torch.empty(n, D, dtype=F64).exponential_(1.0, generator=g) - 1


def linear(base: Draw, same: bool) -> Family:
    """x = A z + m of white z; S = T S_0 T with a T of condition 2, or S = S_0."""
    cov_0 = covariance(30.0, 1)
    transport = covariance(1.0 if same else 2.0, 2)
    cov, shift = transport @ cov_0 @ transport, 0.0 if same else 0.1
    root, root_0 = torch.linalg.cholesky(cov), torch.linalg.cholesky(cov_0)
    zero = torch.zeros(D, dtype=F64)
    return Family(
        (zero + shift, cov), (zero, cov_0),
        lambda n, g: base(n, g) @ root.T + shift, lambda n, g: base(n, g) @ root_0.T,
    )  # fmt: skip


def rectified(mix: Tensor) -> Moments:
    """Mean and covariance of max(0, u), u ~ N(0, mix mix^T) (Cho & Saul 2009)."""
    cov = mix @ mix.T
    sd = cov.diagonal().sqrt()
    r = (cov / sd / sd[:, None]).clamp(-1, 1)
    mean = sd / math.sqrt(2 * math.pi)
    angle = (1 - r**2).clamp_min(0).sqrt() + r * (math.pi - r.acos())
    return mean, sd[:, None] * sd / (2 * math.pi) * angle - torch.outer(mean, mean)


def relu(perturbed: float) -> Family:
    """64 ReLU features of 32 Gaussian latents, on scales from 2 to 0.3; their mix perturbed."""
    scale = torch.linspace(2, 0.3, D, dtype=F64)[:, None] / 32**0.5
    mix_0 = scale * normal(D, 32, seed=1)
    mix = mix_0 + perturbed * scale * normal(D, 32, seed=2)

    def drawn(by: Tensor) -> Draw:
        return lambda n, g: (torch.randn(n, 32, dtype=F64, generator=g) @ by.T).relu()

    return Family(rectified(mix), rectified(mix_0), drawn(mix), drawn(mix_0))


def classes_in_rotation() -> Family:
    """Ten Gaussian classes; generated labels in rotation, those of the reference drawn."""
    centres_0 = 0.375 * normal(CLASSES, D, seed=3)
    roots_0 = torch.stack([torch.linalg.cholesky(covariance(30.0, 10 + h)) for h in range(CLASSES)])
    roots, centres = covariance(1.5, 4) @ roots_0, centres_0 + 0.05

    def moments(centre: Tensor, root: Tensor) -> Moments:
        apart = centre - centre.mean(0)
        return centre.mean(0), (root @ root.mT).mean(0) + apart.T @ apart / CLASSES

    def sample(centre: Tensor, root: Tensor, labels: Tensor, g: torch.Generator) -> Tensor:
        x = noise(len(labels), g)
        for h in range(CLASSES):
            x[labels == h] = x[labels == h] @ root[h].T + centre[h]
        return x

    return Family(
        moments(centres, roots), moments(centres_0, roots_0),
        lambda n, g: sample(centres, roots, torch.arange(n) % CLASSES, g),
        lambda n, g: sample(centres_0, roots_0, torch.randint(CLASSES, (n,), generator=g), g),
        CLASSES,
    )  # fmt: skip


FAMILIES: dict[str, Callable[[], Family]] = {
    "Gaussian": lambda: linear(noise, False),
    "ReLU features": lambda: relu(0.22),
    "S = S_0": lambda: linear(noise, True),
    "exponential": lambda: linear(exponential, False),
    "classes in rotation": classes_in_rotation,
}
