"""Resampled blocks of seeds: a check of the standard error that shares nothing with it."""

from __future__ import annotations

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.metrics.frechet import Reference, check_width, frechet_distance
from sde_diffusion.metrics.stats import FeatureStats, checked

# Share of the blocks that a replicate keeps.
KEPT = 0.8


def bootstrap_error(
    features: Tensor, reference: Reference, blocks: int = 50, replicates: int = 200, seed: int = 0
) -> float:
    """Standard error of the plug-in distance of features [N, d], the reference held fixed.

    Consecutive samples, whose seeds are consecutive, form ``blocks`` blocks; each replicate merges
    the statistics of m of the B blocks, and the error is sqrt(m / (B - m)) times the deviation over
    replicates (Shao & Wu 1989). Drawn without replacement: blocks that repeat, as in Efron's
    bootstrap, give the covariance of fewer samples, and twice the error where N is near d. Classes
    set in rotation stay in proportion where a block is a whole number of turns.
    """
    x = checked(features)
    check_width(x.shape[1], reference)
    if not 2 <= blocks <= len(x) or replicates < 2:
        raise InputError(
            f"blocks={blocks}: give a number from 2 to the {len(x)} samples, "
            "and 2 or more replicates"
        )
    parts = [FeatureStats.of(part) for part in x.tensor_split(blocks)]
    sizes = torch.tensor([part.n for part in parts], dtype=torch.float64)
    means = torch.stack([part.mean for part in parts])
    within = torch.stack([part.M2 for part in parts])
    kept = min(max(1, round(KEPT * blocks)), blocks - 1)
    generator, values = torch.Generator().manual_seed(seed), []
    for _ in range(replicates):
        drawn = torch.randperm(blocks, generator=generator)[:kept]
        weights = sizes[drawn]
        n = weights.sum()
        mean = weights @ means[drawn] / n
        apart = means[drawn] - mean
        m2 = within[drawn].sum(0) + (weights[:, None] * apart).T @ apart
        values.append(frechet_distance(FeatureStats(int(n), mean, m2), reference).value)
    spread = float(torch.tensor(values, dtype=torch.float64).std())
    return spread * (kept / (blocks - kept)) ** 0.5
