"""A mixture of three normal laws on images (1, 4, 4) with two labels: a model in closed form.

Numbers are written down and the arithmetic is float64 torch, so that what a solver makes of it
depends on the solver alone. Imports nothing of the package.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SHAPE = (1, 4, 4)
LABELS = torch.tensor([0, 0, 1])
WEIGHTS = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)
_k = torch.arange(16, dtype=torch.float64)
# A ramp, its reverse at half height, and a checkerboard; standard deviations from 0.05 to 0.5.
MEANS = torch.stack([_k / 10 - 0.75, (0.75 - _k / 10) / 2, 0.6 * (1 - 2 * ((_k // 4 + _k) % 2))])
VARIANCES = torch.stack([
    torch.full((16,), 0.04), 0.0025 * (1 + _k), 0.25 / (1 + _k),
]).double()  # fmt: skip


def posterior_mean(
    x: Tensor, sigma: Tensor, label: Tensor | None = None, keep: Tensor | None = None
) -> Tensor:
    """E[x_0 | x_0 + sigma n = x], x [N, 1, 4, 4], sigma 0-dim or [N, ...] -> x's dtype.

    ``label`` [N] leaves the components of that label where ``keep`` [N] says so.
    """
    level = sigma.to(torch.float64).reshape(-1, 1, 1)
    z = x.to(torch.float64).flatten(1)[:, None] - MEANS
    total = VARIANCES + level**2
    joint = WEIGHTS.log() - 0.5 * (z.square() / total + (2 * math.pi * total).log()).sum(-1)
    if label is not None:
        kept = torch.ones_like(label, dtype=torch.bool) if keep is None else keep
        joint = joint.masked_fill(kept[:, None] & (label[:, None] != LABELS), -math.inf)
    each = MEANS + VARIANCES / total * z
    return (joint.softmax(1)[..., None] * each).sum(1).reshape(x.shape).to(x.dtype)
