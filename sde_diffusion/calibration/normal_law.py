"""The normal law of a model's images: a mean for each class, a covariance that they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from sde_diffusion.calibration.trajectory import Trajectories
from sde_diffusion.conditions.condition import LABEL
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.solvers.calibrated.normal import Normal

A_CLASS = 4  # noises of a class that make its mean


@torch.no_grad()
def normal_law(
    denoiser: Denoiser,
    known: Trajectories,
    most: int,
    batch_size: int,
    device: torch.device | str = "cpu",
    heard: Callable[[int], None] = lambda evaluations: None,
) -> Normal:
    """Means by m_c = E[D(y, sigma_max, c)] over y of the start, the covariance from the images.

    The mean of what a denoiser answers is that of the data; at sigma_max one answer is hardly off.
    Classes count if each of them has ``A_CLASS`` noises or more; else there is one mean.

    Args:
        known: converged trajectories, whose first states and images are used.
        most: components of the covariance at most.
        batch_size: rows at once. device: where the denoiser is. heard: hears of evaluations.
    """
    level, parts = known.levels[0].double(), []
    for first in range(0, len(known), batch_size):
        rows = slice(first, first + batch_size)
        cond = None if known.cond is None else known.cond[rows].to(device)
        parts.append(denoiser(known.noise[rows].to(device), level, cond).cpu())
    heard(denoiser.cost * len(known))
    answers = torch.cat(parts).flatten(1).double()
    mean = answers.mean(0)
    label = None if known.cond is None else known.cond.parts.get(LABEL)
    if label is None or not bool(label.keep.all()):
        return replace(Normal.of(known.images, most, mean.expand_as(answers)), mean=mean)
    labels, own, counts = label.value.unique(return_inverse=True, return_counts=True)
    if int(counts.min()) < A_CLASS:
        return replace(Normal.of(known.images, most, mean.expand_as(answers)), mean=mean)
    sums = torch.zeros(len(labels), answers.shape[1], dtype=torch.float64)
    means = sums.index_add(0, own, answers) / counts[:, None]
    law = Normal.of(known.images, most, means[own])
    return replace(law, mean=mean, labels=labels, means=means)
