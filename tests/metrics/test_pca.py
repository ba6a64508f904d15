"""PCA features: by their definition, of the images they were fitted to, refused when wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sde_diffusion.data import Digits
from sde_diffusion.errors import InputError
from sde_diffusion.metrics.extractors import PcaExtractor

from .inception_weights import random_images


def test_pca_keeps_the_directions_of_largest_variance() -> None:
    extractor = PcaExtractor("digits", 10)
    x = Digits().load().images.flatten(1).double() / 255
    centred = x - x.mean(0)
    _, singular, v = torch.linalg.svd(centred, full_matrices=False)
    found = extractor(Digits().load().images)
    torch.testing.assert_close(found.abs(), (centred @ v[:10].T).abs(), rtol=0, atol=1e-10)
    variances = singular[:10].square() / (len(x) - 1)
    torch.testing.assert_close(found.var(0), variances, rtol=1e-10, atol=0)
    largest = extractor.directions.abs().argmax(0, keepdim=True)
    assert bool((extractor.directions.gather(0, largest) > 0).all())


def test_pca_in_all_directions_is_a_rotation_of_pixels() -> None:
    x = Digits("test").load().images
    found = PcaExtractor("digits", 64)(x)
    torch.testing.assert_close(
        torch.cdist(found, found), torch.cdist(x.flatten(1).double(), x.flatten(1).double()) / 255,
        rtol=0, atol=1e-6,
    )  # fmt: skip


def test_pca_is_of_the_images_it_was_fitted_to(tmp_path: Path) -> None:
    known = PcaExtractor("digits", 5)
    path = str(tmp_path / "digits.npz")  # the same pixels by another name
    np.savez(path, images=Digits().load().images.permute(0, 2, 3, 1).numpy())
    assert PcaExtractor(path, 5).fingerprint == known.fingerprint
    np.savez(path, images=Digits("test").load().images.permute(0, 2, 3, 1).numpy())
    prints = {PcaExtractor(path, 5).fingerprint, PcaExtractor("digits", 6).fingerprint}
    assert len(prints | {known.fingerprint}) == 3
    assert known.metric == "FD[pca5]"


def test_pca_refuses(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "few.npz", images=Digits("test").load().images[:9].permute(0, 2, 3, 1).numpy()
    )
    np.savez(tmp_path / "large.npz", images=np.zeros((3, 80, 80), np.uint8))
    for fit, dim, message in (
        ("nosuch.zip", 5, r"extractor\.fit=nosuch\.zip"),
        ("digits", 65, r"extractor\.dim=65: give a number from 1 to 64"),
        ("digits", 0, r"extractor\.dim=0"),
        (str(tmp_path / "few.npz"), 9, "from 1 to 8"),
        (str(tmp_path / "large.npz"), 1, "6400 values an image"),
    ):
        with pytest.raises(InputError, match=message):
            PcaExtractor(fit, dim)
    with pytest.raises(InputError, match=r"extractor=pca.*extractor\.fit"):
        PcaExtractor("digits", 5)(random_images(2, 1, 9, 9))
