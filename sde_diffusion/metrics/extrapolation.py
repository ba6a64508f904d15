"""FID-infinity: a distance extrapolated to infinitely many samples, for comparison."""

from __future__ import annotations

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.metrics.frechet import Reference, frechet_of_features
from sde_diffusion.metrics.stats import checked


def fd_infinity(features: Tensor, reference: Reference, points: int = 15, seed: int = 0) -> float:
    """Intercept of a straight line in 1 / n through distances of random subsets (arXiv 1911.07023).

    The ``points`` sizes are evenly spaced from N / 10 to N, as published for N = 50,000. Only the
    part of the bias that falls as 1 / n is removed; ``inference.debiased`` has an interval too.
    """
    x = checked(features)
    total = len(x)
    if points < 2 or total < 20:
        raise InputError(f"samples={total}, points={points}: give at least 20 and 2")
    sizes = torch.linspace(total // 10, total, points, dtype=torch.float64).round().long()
    generator, values = torch.Generator().manual_seed(seed), []
    for n in sizes.tolist():
        rows = torch.randperm(total, generator=generator)[:n]
        values.append(frechet_of_features(x[rows], reference).value)
    design = torch.stack([torch.ones(points, dtype=torch.float64), 1 / sizes.double()], dim=1)
    fit = torch.linalg.lstsq(design, torch.tensor(values, dtype=torch.float64)[:, None])
    return float(fit.solution[0, 0])
