"""The Inception extractor: what it is made of, what it is called, which files it refuses."""

from __future__ import annotations

import hashlib
import pickle
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.metrics.extractors import InceptionExtractor
from sde_diffusion.metrics.extractors import inception as module

from .inception_weights import random_images, random_weights

Weights = dict[str, Tensor]
STEM = "Conv2d_1a_3x3.conv.weight"


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(module.VARIABLE, raising=False)


@pytest.fixture(scope="module")
def tensors() -> Weights:
    return random_weights()


@pytest.fixture(scope="module")
def file(tensors: Weights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(tensors, path)
    return path


@pytest.fixture(scope="module")
def extractor(file: Path) -> InceptionExtractor:
    return InceptionExtractor(str(file))


@pytest.fixture(scope="module")
def published(file: Path) -> type[InceptionExtractor]:
    """The extractor, had the file's weights been published."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return type("Published", (InceptionExtractor,), {"sha256": digest})


def test_features_of_any_size_grey_or_colour(extractor: InceptionExtractor) -> None:
    grey = random_images(2, 1, 20, 24)
    found = extractor(grey)
    assert found.shape == (2, 2048)
    torch.testing.assert_close(extractor(grey.expand(-1, 3, -1, -1)), found, rtol=0, atol=0)
    with pytest.raises(InputError, match="1 or 3 channels, not 4"):
        extractor(random_images(1, 4, 20, 20))


def test_only_the_published_weights_make_it_fid(
    extractor: InceptionExtractor, published: type[InceptionExtractor], file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    assert extractor.metric == "FD[inception]"
    monkeypatch.setenv(module.VARIABLE, str(file))
    assert published().metric == "FID"


def test_fingerprint_is_of_the_weights_and_the_protocol(
    extractor: InceptionExtractor, tensors: Weights, tmp_path: Path
) -> None:
    path = tmp_path / "other.safetensors"
    save_file(tensors, path)
    assert InceptionExtractor(str(path)).fingerprint == extractor.fingerprint
    save_file({**tensors, STEM: tensors[STEM] * 1.0001}, path)
    assert InceptionExtractor(str(path)).fingerprint != extractor.fingerprint
    save_file(tensors, path)
    bicubic = {"protocol": InceptionExtractor.protocol.replace("tf1", "bicubic")}
    other = type("Bicubic", (InceptionExtractor,), bicubic)
    assert other(str(path)).fingerprint != extractor.fingerprint


class Hostile:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        import os

        return os.system, ("echo owned > owned",)


CHANGES: dict[str, Callable[[Weights], object]] = {
    "fewer": lambda w: {k: v for k, v in w.items() if k != STEM},
    "shape": lambda w: {**w, STEM: w[STEM][:5].clone()},
    "half": lambda w: {**w, STEM: w[STEM].half()},
    "nan": lambda w: {**w, STEM: w[STEM] * torch.nan},
    "another head": lambda w: {**w, "fc.weight": torch.zeros(1000, 2048)},
    "no head": lambda w: {k: v for k, v in w.items() if not k.startswith("fc")},
    "empty": lambda w: {},
    "a list": lambda w: [1, 2],
    "no tensors": lambda w: {"epoch": 3},
}


@pytest.mark.parametrize("change", CHANGES)
def test_wrong_weights_are_one_line(tensors: Weights, tmp_path: Path, change: str) -> None:
    path = tmp_path / "wrong.pth"
    torch.save(CHANGES[change](tensors), path)
    with pytest.raises(InputError, match=r"extractor\.weights=.*wrong\.pth") as found:
        InceptionExtractor(str(path))
    assert "\n" not in str(found.value)


def test_hostile_torn_and_missing_files(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({STEM: Hostile()}, "hostile.pth")
    Path("plain.pth").write_bytes(pickle.dumps(Hostile()))
    Path("torn.pth").write_bytes(file.read_bytes()[:-1000])
    Path("text.safetensors").write_text("text")
    Path("none.pth").write_bytes(b"")
    for name in ("hostile.pth", "plain.pth", "torn.pth", "text.safetensors", "none.pth"):
        with pytest.raises(InputError, match="torn, or no file of plain weights") as found:
            InceptionExtractor(name)
        assert "\n" not in str(found.value)
    assert not Path("owned").exists()
    with pytest.raises(InputError, match="no such file"):
        InceptionExtractor("nosuch.pth")
    with pytest.raises(InputError, match=r"extractor\.download=true"):
        InceptionExtractor()


def test_a_download_is_kept_only_if_its_hash_is_right(
    file: Path, published: type[InceptionExtractor], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = file.read_bytes()
    asked = []

    def fetch(url: str) -> bytes:
        asked.append(url)
        return content

    monkeypatch.setattr(module, "fetch", fetch)
    with pytest.raises(InputError, match=r"extractor\.download: .*not kept"):
        InceptionExtractor(download=True)
    assert not list(cache.rglob("*.pth"))
    assert published(download=True).metric == "FID"
    assert published().metric == "FID"  # found in the cache
    assert asked == [module.URL] * 2


def test_a_download_serves_where_the_cache_may_not_be_written(
    file: Path, published: type[InceptionExtractor], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    content = file.read_bytes()
    monkeypatch.setattr(module, "fetch", lambda url: content)
    monkeypatch.setenv("SDE_DIFFUSION_CACHE", "/dev/null/x")
    assert published(download=True).metric == "FID"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("weights kept in the cache: left out ([Errno 20] Not a directory")
    with pytest.raises(InputError, match=r"extractor\.download=true"):
        InceptionExtractor()


def test_a_fetch_reads_no_more_than_is_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "served").write_bytes(b"x" * 5 * 2**20)
    url = (tmp_path / "served").as_uri()
    assert len(module.fetch(url)) == 5 * 2**20
    assert len(module.fetch(url, 2**20)) == 2 * 2**20
    with pytest.raises(InputError, match=r"extractor\.download: .*extractor\.weights="):
        module.fetch((tmp_path / "nosuch").as_uri())

    def refused(*_: object, **__: object) -> None:
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr(urllib.request, "urlopen", refused)
    with pytest.raises(InputError, match="refused"):
        module.fetch(module.URL)
