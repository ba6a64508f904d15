"""TorchScript features: by hand, the protocol in the fingerprint, wrong files in one line."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sde_diffusion.errors import InputError
from sde_diffusion.metrics.extractors import Extractor, TorchScriptExtractor

from .inception_weights import random_images


def trusted(*arguments: Any, **fields: Any) -> TorchScriptExtractor:
    return TorchScriptExtractor(*arguments, trust=True, **fields)


def test_a_program_is_run_for_those_who_trust_it_alone(means: str) -> None:
    with pytest.raises(InputError, match=r"a program.*set extractor\.trust=true$"):
        TorchScriptExtractor(means, size=8)
    assert trusted(means, size=8).dim


class Means(nn.Module):
    """Channel means, then those of the left half: features that can be computed by hand."""

    def forward(self, x: Tensor) -> Tensor:
        half = x[:, :, :, : x.shape[3] // 2]
        return torch.cat([x.mean((2, 3)), half.mean((2, 3))], 1)


class Square(nn.Module):
    """Fails on images that are not of four pixels."""

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], 48)


class Flat(nn.Module):
    """No row of features an image."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean()


def scripted(module: nn.Module, path: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(module), str(path))
    return str(path)


@pytest.fixture(scope="module")
def means(tmp_path_factory: pytest.TempPathFactory) -> str:
    return scripted(Means(), tmp_path_factory.mktemp("scripts") / "means.pt")


def test_torchscript_features_by_hand(means: str) -> None:
    mean, std = [0.1, 0.2, 0.3], [0.5, 1.0, 2.0]
    extractor = trusted(means, "means", 8, "none", mean, std)
    assert (extractor.dim, extractor.metric) == (6, "FD[means]")
    x = random_images(4, 3, 8, 8)
    scaled = (x.double() / 255 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[
        :, None, None
    ]
    by_hand = torch.cat([scaled.mean((2, 3)), scaled[..., :4].mean((2, 3))], 1)
    torch.testing.assert_close(extractor(x), by_hand, rtol=0, atol=1e-6)
    grey = x[:, :1]
    torch.testing.assert_close(extractor(grey), extractor(grey.expand(-1, 3, -1, -1)))


def test_torchscript_fingerprint_holds_the_whole_protocol(means: str, tmp_path: Path) -> None:
    base: dict[str, Any] = {"file": means, "size": 8}
    other = scripted(Square(), tmp_path / "square.pt")
    changes: list[dict[str, Any]] = [
        {}, {"size": 9}, {"resize": "bilinear"}, {"mean": [0.5, 0.5, 0.4]},
        {"std": [0.5, 0.5, 0.4]}, {"file": other, "size": 4},
    ]  # fmt: skip
    made: list[Extractor] = [trusted(**{**base, **change}) for change in changes]
    assert len({e.fingerprint for e in made}) == len(changes)
    # What a number does not depend on is not in it.
    assert trusted(means, "another", 8, batch=1).fingerprint == made[0].fingerprint


def test_torchscript_batches_and_resizes(means: str) -> None:
    x = random_images(7, 3, 11, 13)
    one, all_ = (trusted(means, size=8, batch=b)(x) for b in (1, 50))
    torch.testing.assert_close(one, all_, rtol=0, atol=1e-6)


def test_torchscript_refuses(means: str, tmp_path: Path) -> None:
    torn = tmp_path / "torn.pt"
    torn.write_bytes(Path(means).read_bytes()[:-100])
    text = tmp_path / "text.pt"
    text.write_text("text")
    torch.save({"a": torch.zeros(3)}, tmp_path / "dict.pt")
    square, flat = (scripted(m(), tmp_path / f"{m.__name__}.pt") for m in (Square, Flat))
    cases: list[tuple[dict[str, Any], str]] = [
        ({"file": str(torn)}, "torn, or not TorchScript"),
        ({"file": str(text)}, "torn, or not TorchScript"),
        ({"file": str(tmp_path / "dict.pt")}, "torn, or not TorchScript"),
        ({"file": "nosuch.pt"}, r"extractor\.file=nosuch\.pt: no such file"),
        ({"file": square, "size": 5}, r"fails on float32 \(2, 3, 5, 5\)"),
        ({"file": flat}, "one row of features an image"),
        ({"file": means, "resize": "nearest"}, r"extractor\.resize=nearest: choose one of"),
        ({"file": means, "size": 0}, r"extractor\.size=0"),
        ({"file": means, "std": [1.0, 0.0, 1.0]}, "std > 0"),
        ({"file": means, "mean": [1.0]}, "as many of both"),
        ({"file": means, "name": "../a"}, r"extractor\.name="),
        ({"file": means, "device": "nosuch"}, r"extractor\.device=nosuch: not usable here"),
    ]
    for arguments, message in cases:
        with pytest.raises(InputError, match=message) as found:
            trusted(**arguments)
        assert "\n" not in str(found.value)
    with pytest.raises(InputError, match="takes 1 or 3 channels, not 2"):
        trusted(means, size=8)(random_images(1, 2, 8, 8))
