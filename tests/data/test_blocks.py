"""Images that lie in a file in place of memory are those that lie in memory, to the last bit."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sde_diffusion.data import load_images
from sde_diffusion.data.npz import ImageNpz
from sde_diffusion.data.splits import without
from sde_diffusion.images import blocks
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.metrics.extractors.random_conv import RandomConvExtractor
from sde_diffusion.metrics.reference import ReferenceSet


def npz(folder: Path, channels: int, packed: bool = False) -> str:
    drawn = np.random.default_rng(channels)
    side = {1: 540, 3: 312}[channels]  # 11 MB
    pixels = drawn.integers(0, 256, (40, side, side, channels), dtype=np.uint8)
    (np.savez_compressed if packed else np.savez)(folder / "set.npz", images=pixels)
    return str(folder / "set.npz")


def files(folder: Path) -> str:
    for k in range(12):
        level = np.full((900, 900), 20 * k, np.uint8)
        place = folder / "files" / "ab"[k % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(level).save(place / f"{k:02d}.png")
    return str(folder / "files")


def full(*args: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def both(monkeypatch: pytest.MonkeyPatch, read: Any) -> tuple[Any, Any]:
    """What ``read`` gives in memory, as if the disk were full, and in a file of some blocks."""
    with monkeypatch.context() as patch:
        patch.setattr(blocks.os, "posix_fallocate", full)
        memory = read()
    return memory, read()


def mapped(images: torch.Tensor) -> bool:
    return blocks._mapped(images) is not None


def alike(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(a, b) and a.stride() == b.stride()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_archive_is_the_same(
    channels: int, packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = npz(tmp_path, channels, packed)
    held, lies = both(monkeypatch, lambda: load_images(path, "images"))
    assert mapped(lies.images)
    assert not mapped(held.images)
    assert alike(held.images, lies.images)
    assert held.fingerprint == lies.fingerprint
    for a, b in zip(without(held, 7), without(lies, 7), strict=True):
        assert alike(a.images, b.images)
        assert mapped(b.images) == (b.images.nbytes > blocks.BOUND)


def test_files_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = files(tmp_path)
    held, lies = both(monkeypatch, lambda: load_images(path, "images"))
    assert lies.images.shape == (12, 1, 900, 900)
    assert mapped(lies.images)
    assert alike(held.images, lies.images)
    assert torch.equal(held.labels, lies.labels)


def test_what_is_made_of_images_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = npz(tmp_path, 1)

    def read() -> tuple[ImageSet, ImageSet, ReferenceSet]:
        data = ImageNpz(path, size=470).load()
        three = data.with_channels(3, "images=x", "the reference")
        extractor = RandomConvExtractor(channels=3)
        extractor.batch_size = 9
        reference = ReferenceSet.of(extractor, *without(three, 11), keep=20)
        return three, three.with_channels(1, "images=x", "the reference"), reference

    (three, one, reference), (three_, one_, reference_) = both(monkeypatch, read)
    assert alike(three.images, three_.images)
    assert alike(one.images, one_.images)
    for name in ("features", "held_out"):
        assert torch.equal(getattr(reference, name), getattr(reference_, name))
    assert torch.equal(reference.stats.M2, reference_.stats.M2)


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="it tells what is resident")
def test_going_through_a_file_gives_its_memory_back() -> None:
    def resident() -> int:  # bytes of files
        return int(Path("/proc/self/statm").read_text().split()[2]) * 4096

    n, size = 24, 2**20
    before = resident()
    levels = torch.arange(n, dtype=torch.uint8)[:, None]
    images = blocks.each(levels, lambda level: level.expand(-1, size))
    digest = ImageSet(images, None, 0, "x").fingerprint
    assert resident() - before < n * size // 4
    assert digest == ImageSet(images.clone(), None, 0, "x").fingerprint


def test_the_file_goes_with_its_pixels() -> None:
    levels = torch.arange(12, dtype=torch.uint8).view(12, 1).repeat(1, 2**20)
    images = blocks.each(levels, torch.clone)
    found = blocks._mapped(images)
    assert found is not None
    descriptor = found.fd
    assert os.fstat(descriptor).st_size == levels.nbytes
    del found, images
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_disk_that_is_full_and_none_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = torch.arange(12, dtype=torch.uint8).view(12, 1).repeat(1, 2**20)
    assert mapped(blocks.each(levels, torch.clone))
    monkeypatch.setattr(blocks.os, "posix_fallocate", full)
    held = blocks.each(levels, torch.clone)
    assert not mapped(held)
    assert torch.equal(held, levels)
    monkeypatch.undo()
    monkeypatch.setattr(blocks.tempfile, "gettempdir", lambda: "/no/such/folder")
    assert torch.equal(blocks.each(levels, torch.clone), levels)
