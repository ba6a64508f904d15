"""Noise features: their frequencies and what they are computed in."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import kstest, norm

from sde_diffusion.networks.layers.embeddings import fourier, positional


def test_positional_frequencies_are_equal_steps_of_the_logarithm() -> None:
    features = positional(64)
    steps = features.frequencies.double().log().diff()
    assert float(features.frequencies[0]) == 1
    assert float(features.frequencies[-1]) == pytest.approx(100.0, rel=1e-5)
    assert torch.allclose(steps, steps.mean(), atol=1e-5)


def test_fourier_frequencies_have_the_law_of_the_paper() -> None:
    """2 pi |N(0, 16^2)|: the quantiles are within 1 / (2 K) of the distribution function."""
    z = fourier(16.0, 128).frequencies.double() / (2 * math.pi)
    distance = kstest(z.numpy(), lambda v: 2 * norm.cdf(v / 16) - 1).statistic
    assert distance == pytest.approx(0.5 / 128, rel=1e-3)


@pytest.mark.parametrize("features", [positional(), fourier(16.0)])
def test_features_are_cosines_and_sines(features: torch.nn.Module) -> None:
    c = torch.tensor([-1.5, 0.0, 1.1], dtype=torch.float64)
    found = features.double()(c)
    angles = c[:, None] * features.frequencies  # type: ignore[operator]
    assert torch.equal(found, torch.cat([angles.cos(), angles.sin()], dim=1))
    assert torch.allclose(found.square().mean(1), torch.full((3,), 0.5, dtype=torch.float64))


def test_frequencies_are_no_weights_and_the_same_on_the_meta_device() -> None:
    with torch.device("meta"):
        made = fourier(16.0)
    assert torch.equal(made.frequencies, fourier(16.0).frequencies)
    assert not made.state_dict()
