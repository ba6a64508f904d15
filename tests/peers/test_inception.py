"""Inception features equal torch-fidelity's, from one weights file, on the same images."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F

from sde_diffusion.metrics.extractors import InceptionExtractor
from sde_diffusion.metrics.extractors import inception as inception_module
from tests.metrics.inception_weights import random_images, write_random_weights

PEER = "torch_fidelity"


@pytest.fixture(scope="module")
def peer() -> Iterator[ModuleType]:
    """Its Inception module alone: the package as a whole imports torchvision."""
    spec = importlib.util.find_spec(PEER)
    if spec is None or spec.submodule_search_locations is None:
        pytest.skip("torch-fidelity is not installed: pip install --no-deps torch-fidelity")
    shell = ModuleType(PEER)
    shell.__path__ = list(spec.submodule_search_locations)
    known = dict(sys.modules)
    sys.modules[PEER] = shell
    yield importlib.import_module(f"{PEER}.feature_extractor_inceptionv3")
    for name in set(sys.modules) - set(known):
        if name.split(".")[0] == PEER:
            del sys.modules[name]


def weights(tmp_path: Path) -> Path:
    """The real ones if SDE_DIFFUSION_INCEPTION names them."""
    named = os.environ.get(inception_module.VARIABLE)
    return Path(named) if named else write_random_weights(tmp_path / "weights.pth")


def test_features_are_torch_fidelitys(
    peer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = weights(tmp_path)
    theirs = peer.FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path)
    )
    ours = InceptionExtractor(str(path))
    for shape in ((3, 3, 32, 32), (1, 3, 301, 400), (1, 3, 299, 299)):
        x = random_images(*shape)
        with torch.no_grad():
            (expected,) = theirs(x)
        found = ours(x)
        assert float(expected.std()) > 0.05  # or the comparison says nothing
        torch.testing.assert_close(found, expected.double(), rtol=0, atol=1e-5)

    # The known wrong way: the resize of image libraries. The comparison sees it.
    def half_pixels(x: torch.Tensor, size: int) -> torch.Tensor:
        return F.interpolate(x, (size, size), mode="bilinear", antialias=True)

    monkeypatch.setattr(inception_module, "tf1_bilinear", half_pixels)
    x = random_images(1, 3, 32, 32)
    with torch.no_grad():
        (expected,) = theirs(x)
    assert float((ours(x) - expected).abs().max()) > 1e-2
