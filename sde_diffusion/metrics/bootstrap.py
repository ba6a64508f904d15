"""Bootstrap over blocks of seeds: a check of the standard error that shares nothing with it."""

from __future__ import annotations

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.metrics.frechet import Reference, check_width, frechet_distance
from sde_diffusion.metrics.stats import FeatureStats, checked


def bootstrap_error(
    features: Tensor, reference: Reference, blocks: int = 50, replicates: int = 200, seed: int = 0
) -> float:
    """Standard error of the plug-in distance of features [N, d], the reference held fixed.

    Consecutive samples, whose seeds are consecutive, form ``blocks`` blocks; each replicate draws
    as many blocks with replacement (Efron & Tibshirani 1993, 8.6) and merges their statistics.
    Classes set in rotation stay in proportion where a block is a whole number of turns. Drawn
    blocks repeat, so with N close to d it is too large: a check, not an interval.
    """
    x = checked(features)
    check_width(x.shape[1], reference)
    if not 2 <= blocks <= len(features) or replicates < 2:
        raise InputError(
            f"blocks={blocks}: give a number from 2 to the {len(features)} samples, "
            "and 2 or more replicates"
        )
    parts = [FeatureStats.of(part) for part in x.tensor_split(blocks)]
    sizes = torch.tensor([part.n for part in parts], dtype=torch.float64)
    means = torch.stack([part.mean for part in parts])
    within = torch.stack([part.M2 for part in parts])
    generator, values = torch.Generator().manual_seed(seed), []
    for _ in range(replicates):
        drawn = torch.randint(blocks, (blocks,), generator=generator)
        times = torch.bincount(drawn, minlength=blocks).to(torch.float64)
        weights = times * sizes
        n = weights.sum()
        mean = weights @ means / n
        apart = means - mean
        m2 = torch.einsum("b,bij->ij", times, within) + (weights[:, None] * apart).T @ apart
        values.append(frechet_distance(FeatureStats(int(n), mean, m2), reference).value)
    return float(torch.tensor(values, dtype=torch.float64).std())
