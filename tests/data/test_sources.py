"""Data sets: what is read is what was written; what is broken is named in one line."""

from __future__ import annotations

import gzip
import io
import math
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sde_diffusion.data import (
    MNIST,
    DataSource,
    Digits,
    FashionMNIST,
    ImageFolder,
    ImageNpz,
    Vectors,
    image_npz,
)
from sde_diffusion.data.idx import read_idx
from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.images.pixels import to_float, to_uint8
from tests.refusals import refused

ALL = torch.arange(256, dtype=torch.uint8)


def test_every_grey_level_survives_the_round_trip() -> None:
    assert torch.equal(to_uint8(to_float(ALL)), ALL)


def test_truncation_would_not_survive_it() -> None:
    def truncating(x: torch.Tensor) -> torch.Tensor:  # the known wrong way
        return ((x.clamp(-1, 1) + 1) * 127.5).to(torch.uint8)

    assert not torch.equal(truncating(to_float(ALL)), ALL)


def test_to_uint8_clips_before_it_rounds() -> None:
    assert to_uint8(torch.tensor([-3.0, 3.0, 0.0])).tolist() == [0, 255, 128]


def test_values_that_are_not_finite_are_neither_black_nor_white() -> None:
    x = torch.zeros(3, 1, 2, 2)
    x[1, 0, 0, 1] = torch.nan
    with pytest.raises(InputError, match="images: 1 of 3 hold values that are not finite"):
        to_uint8(x)
    with pytest.raises(InputError, match="images: 2 of 2"):
        to_uint8(torch.tensor([-torch.inf, torch.inf]))


def test_fingerprint_is_of_content_and_shape_not_of_name() -> None:
    a = ImageSet(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), None, 0, "a")
    assert a.fingerprint == ImageSet(a.images.clone(), None, 0, "b").fingerprint
    assert a.fingerprint != ImageSet(a.images.reshape(2, 1, 2, 8), None, 0, "a").fingerprint
    assert a.fingerprint != ImageSet(a.images + 1, None, 0, "a").fingerprint


def test_digits_are_embedded() -> None:
    train, test = Digits().load(), Digits("test").load()
    assert tuple(train.images.shape) == (1500, 1, 8, 8)
    assert len(test) == 297
    assert train.labels is not None
    assert train.labels.bincount().min() > 140
    assert train.images.max() == 255
    with pytest.raises(InputError, match=r"data\.split=all"):
        Digits("all").load()


def called(source: Any) -> str:
    return {MNIST: "mnist", FashionMNIST: "fashion_mnist"}[source]


def idx(array: np.ndarray, magic: bytes = b"\x00\x00\x08") -> bytes:
    sizes = struct.pack(f">{array.ndim}i", *array.shape)
    return magic + bytes([array.ndim]) + sizes + array.tobytes()


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_files(tmp_path: Path, suffix: str) -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    content = idx(array)
    path = tmp_path / f"x{suffix}"
    path.write_bytes(gzip.compress(content) if suffix else content)
    assert np.array_equal(read_idx(path), array)
    wrapped = struct.pack(">4i", -2, -3, 2, 2) + bytes(24)
    heads = [b"\x00\x00\x08" + tail for tail in (b"", b"\xff", b"\x03", b"\x04" + wrapped)]
    for broken in (content[:-3], idx(array, b"\x00\x00\x0d"), b"", *heads):
        path.write_bytes(gzip.compress(broken) if suffix else broken)
        with pytest.raises(InputError, match=r"data\.root"):
            read_idx(path)


def test_torn_gzip_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.gz").write_bytes(gzip.compress(idx(np.zeros((9, 9), np.uint8)))[:-9])
    with pytest.raises(InputError, match=r"x\.gz"):
        read_idx(tmp_path / "x.gz")


@pytest.mark.parametrize(
    ("named", "variable"), [(MNIST, "MNIST_ROOT"), (FashionMNIST, "FASHION_MNIST_ROOT")]
)
def test_idx_sets_ask_for_their_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: Callable[..., DataSource], variable: str
) -> None:
    monkeypatch.setenv(variable, str(tmp_path))
    with pytest.raises(InputError, match=rf"folder of {called(named)} .*data\.download=true"):
        named().load()
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((2, 28, 28), np.uint8)))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(2, np.uint8)))
    with pytest.raises(InputError, match="60000"):
        named().load()
    with pytest.raises(InputError, match=r"data\.split=all"):
        named(split="all").load()


@pytest.mark.parametrize("named", [MNIST, FashionMNIST])
def test_idx_sets_are_fetched_once_from_where_they_say(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    named: Callable[..., DataSource],
) -> None:
    labels = np.arange(10_000) % 10
    images = (labels * 20)[:, None, None] + np.zeros((1, 28, 28), int)
    served = {
        "t10k-images-idx3-ubyte.gz": images.astype(np.uint8),
        "t10k-labels-idx1-ubyte.gz": labels.astype(np.uint8),
    }
    asked: list[str] = []

    def open_url(url: str, timeout: float) -> io.BytesIO:
        asked.append(url)
        return io.BytesIO(gzip.compress(idx(served[url.rsplit("/", 1)[-1]]), 1))

    monkeypatch.setattr("urllib.request.urlopen", open_url)
    for _ in range(2):
        found = named(root=str(tmp_path), split="test", download=True).load()
        assert found.name == f"{called(named)}-test"
        assert found.labels is not None
        assert torch.equal(found.images[:, 0, 5, 5].long(), found.labels * 20)
    assert len(asked) == 2
    assert all(url.startswith("https://") and url in capsys.readouterr().out for url in asked[:1])

    def refuse(url: str, timeout: float) -> io.BytesIO:
        raise OSError("no route")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with refused("data.download", "no route", "set data.root="):
        named(root=str(tmp_path / "empty"), split="test", download=True).load()


def test_npz(tmp_path: Path) -> None:
    path = str(tmp_path / "x.npz")
    array = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    np.savez(path, images=array[..., None], labels=[1, 0])
    found = image_npz(path)
    assert torch.equal(found.images[:, 0], torch.from_numpy(array))
    assert found.labels is not None
    assert found.labels.tolist() == [1, 0]
    np.savez(path, array)
    assert image_npz(path).images.shape == (2, 1, 3, 4)
    for wrong in ({"images": array.astype(float)}, {"x": array}, {"images": array, "labels": [1]}):
        np.savez(path, **wrong)
        with pytest.raises(InputError, match=r"x\.npz"):
            image_npz(path)


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
def test_an_archive_is_resized_as_a_folder_is(tmp_path: Path, fit: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 12, 9, 3), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", images=pixels, labels=[2, 0, 1])
    (tmp_path / "folder").mkdir()
    for k, array in enumerate(pixels):
        Image.fromarray(array).save(tmp_path / "folder" / f"{k}.png")
    found = ImageNpz(str(tmp_path / "x.npz"), size=6, fit=fit).load()
    folder = ImageFolder(str(tmp_path / "folder"), size=6, fit=fit).load()
    assert torch.equal(found.images, folder.images)
    assert found.labels is not None
    assert found.labels.tolist() == [2, 0, 1]
    assert any("squashed" in note for note in found.notes) == (fit == "squash")
    assert ImageNpz(str(tmp_path / "x.npz")).load().images.shape == (3, 3, 12, 9)
    for wrong in ({"size": 0}, {"fit": "crop"}, {"size": 4, "fit": "wide"}):
        with refused("data."):
            ImageNpz(str(tmp_path / "x.npz"), **wrong)


def test_what_the_other_reader_reads_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((2, 4, 4), np.uint8))
    with refused("data.path=", f"data=npz data.path={tmp_path / 'x.npz'}"):
        ImageFolder(str(tmp_path / "x.npz"), size=2).load()
    with refused("data.path=", "data=npz data.path=FILE.npz"):
        ImageFolder(str(tmp_path)).load()
    with refused("data.path=", "a folder", "data=folder"):
        ImageNpz(str(tmp_path)).load()
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.png", b"none")
    with refused("data.path=", "holds pictures", "data=folder"):
        ImageNpz(str(tmp_path / "x.zip")).load()


@pytest.mark.parametrize(
    "labels",
    [[[0], [1]], ["a", "b"], [-1, 0], [0.5, 1.0], [math.nan, 0.0], 1],
    ids=["a column", "words", "negative", "fractions", "no number", "one"],
)
def test_labels_that_number_no_classes_are_named(tmp_path: Path, labels: object) -> None:
    path = str(tmp_path / "x.npz")
    np.savez(path, images=np.zeros((2, 3, 4), np.uint8), labels=np.array(labels))
    with pytest.raises(InputError, match=r"x\.npz: labels are .*; give whole numbers >= 0, \[2\]"):
        image_npz(path)
    np.savez(path, x=np.zeros((2, 3)), labels=np.array(labels))
    with pytest.raises(InputError, match=r"x\.npz: labels are .*; give whole numbers >= 0, \[2\]"):
        Vectors(path).load()


def test_npz_of_images_without_pixels_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((2, 0, 4), np.uint8))
    with pytest.raises(InputError, match=r"x\.npz: images is uint8 \(2, 0, 4\)"):
        image_npz(str(tmp_path / "x.npz"))


def test_npz_with_pickled_objects_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "x.npz")
    np.savez(path, images=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match=r"of type object.*one array of numbers"):
        image_npz(path)


def test_npz_that_is_not_there_is_called_so(tmp_path: Path) -> None:
    with refused("data.path=", "x.npz: no such file"):
        image_npz(str(tmp_path / "x.npz"))
