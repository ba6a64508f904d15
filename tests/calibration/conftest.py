"""A small problem: a mixture in four dimensions, and its converged trajectories."""

from __future__ import annotations

import pytest
import torch

from sde_diffusion.calibration import Trajectories, trajectories
from sde_diffusion.denoisers.closed_form import MixtureDenoiser


def mixture() -> MixtureDenoiser:
    """Three unlike components."""
    generator = torch.Generator().manual_seed(3)
    means = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    variances = torch.rand(3, 4, generator=generator, dtype=torch.float64) * 0.1 + 0.001
    return MixtureDenoiser(torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64), means, variances)


@pytest.fixture(scope="session")
def known() -> Trajectories:
    return trajectories(mixture(), range(320), None, 64, 0.002, 80.0, 320)
