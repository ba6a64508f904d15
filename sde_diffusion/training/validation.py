"""Validation: the loss on held-out images at a ladder of noise levels, always the same draws."""

from __future__ import annotations

import numpy as np
import torch

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.network import NetworkDenoiser
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.images.pixels import to_float


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
    at every level and in every call, whatever ``batch_size`` is.
    """
    rows = torch.linspace(0, len(data) - 1, min(images, len(data))).round().to(torch.int64)
    x_0 = to_float(data.images[rows])
    noise = torch.randn(x_0.shape, generator=torch.Generator().manual_seed(0))
    cond = None if data.labels is None else Condition.label(data.labels[rows])
    losses = {}
    for sigma in np.geomspace(denoiser.sigma_min, denoiser.sigma_max, levels).tolist():
        total = 0.0
        for first in range(0, len(rows), batch_size):
            part = slice(first, first + batch_size)
            column = torch.full((len(rows[part]),), sigma, device=device)
            given = None if cond is None else cond[part].to(device)
            loss = denoiser.loss(x_0[part].to(device), column, noise[part].to(device), given)
            total += float(loss.sum(dtype=torch.float64))
        losses[sigma] = total / len(rows)
    return losses
