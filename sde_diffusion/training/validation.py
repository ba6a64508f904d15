"""Validation: the loss on held-out images at a ladder of noise levels, always the same draws."""

from __future__ import annotations

import numpy as np
import torch

from sde_diffusion.denoisers.network import NetworkDenoiser
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.images.pixels import to_float
from sde_diffusion.process.noise import Draws, Stream
from sde_diffusion.training.given import condition_of


@torch.no_grad()
def validation_losses(
    denoiser: NetworkDenoiser,
    data: ImageSet,
    levels: int = 8,
    images: int = 256,
    batch_size: int = 128,
    device: torch.device | str = "cpu",
) -> dict[float, float]:
    """Mean weighted loss {sigma: loss} at log-spaced levels across the denoiser's range.

    Images are evenly spread over the set, and their noise is fixed: image k has the same noise
    at every level and in every call, whatever ``images`` and ``batch_size`` are.
    """
    rows = torch.linspace(0, len(data) - 1, min(images, len(data))).round().to(torch.int64)
    x_0 = to_float(data.images[rows].to(device))
    draws = Draws.of_rows(0, range(len(rows)), device)
    noise = draws.normal(Stream.VALIDATION, 0, x_0.shape[1:], x_0.dtype)
    cond = condition_of(data, rows, device)
    sigmas = np.geomspace(denoiser.sigma_min, denoiser.sigma_max, levels).tolist()
    totals = []
    for sigma in sigmas:
        losses = []
        for first in range(0, len(rows), batch_size):
            part = slice(first, first + batch_size)
            column = torch.full((len(x_0[part]),), sigma, device=device)
            part_cond = None if cond is None else cond[part]
            losses.append(denoiser.loss(x_0[part], column, noise[part], part_cond))
        totals.append(torch.cat(losses).sum(dtype=torch.float64))
    means = (torch.stack(totals) / len(rows)).tolist()
    return dict(zip(sigmas, means, strict=True))
