"""Damaged image files, zips and numpy archives: images, or one line that names the key."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sde_diffusion.data import load_images
from sde_diffusion.errors import InputError

CASES = 30  # of each kind
ENDINGS = ("png", "jpg", "gif", "tif", "webp", "bmp", "ppm")


def pictures(ending: str, rng: np.random.Generator) -> bytes:
    buffer = io.BytesIO()
    pixels = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, {"jpg": "JPEG", "tif": "TIFF"}.get(ending, ending.upper()))
    return buffer.getvalue()


def zipped(rng: np.random.Generator) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for k in range(3):
            archive.writestr(f"{k % 2}/{k}.png", pictures("png", rng))
    return buffer.getvalue()


def arrays(rng: np.random.Generator) -> bytes:
    buffer = io.BytesIO()
    pixels = rng.integers(0, 256, (3, 6, 6, 3), dtype=np.uint8)
    np.savez_compressed(buffer, arr_0=pixels, arr_1=np.arange(3))
    return buffer.getvalue()


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bits flipped, the end torn off, bytes put in, or a piece written over."""
    data, kind = bytearray(content), rng.integers(4)
    at = int(rng.integers(len(data)))
    if kind == 0:
        for place in rng.integers(0, len(data), 1 + int(rng.integers(8))):
            data[place] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        del data[at:]
    elif kind == 2:
        data[at:at] = rng.bytes(int(rng.integers(1, 40)))
    else:
        data[at : at + 8] = bytes([(0, 255)[int(rng.integers(2))]]) * 8
    return bytes(data)


MAKERS: dict[str, Callable[[np.random.Generator], bytes]] = {
    **{ending: lambda rng, ending=ending: pictures(ending, rng) for ending in ENDINGS},  # type: ignore[misc]
    "zip": zipped,
    "npz": arrays,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", MAKERS)
def test_damaged_files_are_images_or_one_line(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(list(MAKERS).index(kind))
    lines = []
    for k in range(CASES):
        path = tmp_path / str(k) / f"a.{kind}"
        path.parent.mkdir()
        path.write_bytes(damaged(MAKERS[kind](rng), rng))
        source = path.parent if kind in ENDINGS else path
        try:
            images = load_images(str(source), "images").images
        except InputError as error:
            lines.append(str(error).removeprefix(f"images={source}: "))
        else:
            assert images.ndim == 4
            assert len(images)
    assert lines
    assert all(line.isprintable() and not line.startswith("images=") for line in lines)
