"""Random convolutional features: by hand, of their scale, of their weights."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from sde_diffusion.errors import InputError
from sde_diffusion.metrics.extractors import RandomConvExtractor
from tests.refusals import refused

from .inception_weights import random_images


def test_random_features_by_hand() -> None:
    extractor = RandomConvExtractor(dim=16, channels=3, seed=4)
    x = random_images(3, 3, 20, 28)
    found = extractor(x)
    y = x.float() / 127.5 - 1
    for weight, pad in zip(extractor.weights, (2, 1, 1), strict=True):
        y = F.conv2d(y, weight, stride=2, padding=pad).relu()
    by_hand = torch.stack([y[:, :, a, b].mean((2, 3)) for a, b in quarters(*y.shape[2:])], 2)
    torch.testing.assert_close(found, by_hand.flatten(1).double(), rtol=0, atol=1e-5)


def quarters(h: int, w: int) -> list[tuple[slice, slice]]:
    """The 2 x 2 parts of h x w pixels; a middle row or column belongs to both."""
    rows = (slice(0, (h + 1) // 2), slice(h // 2, h))
    columns = (slice(0, (w + 1) // 2), slice(w // 2, w))
    return [(a, b) for a in rows for b in columns]


def test_random_activations_keep_their_scale() -> None:
    # He's variance: the second moment of the input survives three layers, within sampling error.
    extractor = RandomConvExtractor(dim=512, channels=3, seed=0)
    x = random_images(8, 3, 64, 64)
    y = x.float() / 127.5 - 1
    power = float(y.square().mean())
    for weight in extractor.weights:
        y = F.conv2d(y, weight, stride=2).relu()
    assert 0.5 * power < float(y.square().mean()) < 1.5 * power


def test_random_fingerprints_are_of_the_weights() -> None:
    made = [RandomConvExtractor(*args) for args in ((64,), (64, 3), (64, 1, 1), (32,))]
    assert len({e.fingerprint for e in made}) == 4
    assert RandomConvExtractor(64).fingerprint == made[0].fingerprint
    assert made[0].metric == "FD[random-conv]"
    for args, message in (((6,), "dim=6"), ((0,), "dim=0"), ((4, 0), "channels=0")):
        with pytest.raises(InputError, match=rf"extractor\.{message}"):
            RandomConvExtractor(*args)
    for shape, remedy in (((2, 3, 28, 28), "extractor.channels=3"), ((2, 1, 8, 28), "=pixel")):
        with refused("extractor=random-conv", remedy):
            made[0](random_images(*shape))
