"""Validation losses: the same draws each time, and the truth where it is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.network import NetworkDenoiser
from sde_diffusion.denoisers.parameterization import DataPrediction
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.training.validation import validation_losses


class Constant(nn.Module):
    """F = w everywhere: under x_0 prediction the loss is (w - x_0)^2 at every noise level."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(value))

    def forward(self, x: Tensor, c_noise: Tensor, cond: Condition | None) -> Tensor:
        return self.w.expand_as(x)


WHITE = ImageSet(torch.full((10, 1, 2, 2), 255, dtype=torch.uint8), None, 0, "white")


def test_the_ladder_and_the_loss() -> None:
    d = NetworkDenoiser(Constant(0.5), DataPrediction(), (1, 2, 2), 0.01, 10.0)
    losses = validation_losses(d, WHITE, levels=4)
    assert list(losses) == pytest.approx(np.geomspace(0.01, 10.0, 4).tolist())
    assert list(losses.values()) == pytest.approx([0.25] * 4)


def test_draws_do_not_depend_on_the_batch_or_the_call() -> None:
    class Echo(Constant):
        def forward(self, x: Tensor, c_noise: Tensor, cond: Condition | None) -> Tensor:
            return self.w * x

    d = NetworkDenoiser(Echo(0.5), DataPrediction(), (1, 2, 2), 0.01, 10.0)
    one = validation_losses(d, WHITE, images=7, batch_size=3)
    torch.manual_seed(9)
    assert validation_losses(d, WHITE, images=7, batch_size=100) == pytest.approx(one, rel=1e-6)
