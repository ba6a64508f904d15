"""Folders, archives and single files of images, drawn at random, whole and damaged: images, or one
line that names the key and a remedy."""

from __future__ import annotations

import gzip
import io
import random
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sde_diffusion.data import MNIST, image_folder, load_images
from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from tests.robustness.draws import Draws

MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I;16", "I", "F")
FORMATS = {
    "png": "PNG", "jpg": "JPEG", "gif": "GIF", "tif": "TIFF", "webp": "WEBP", "bmp": "BMP",
    "ppm": "PPM",
}  # fmt: skip
NAMES = (
    "a", "B", "1", "10", " a", "größe", "x=1", "a.b", ".h", "train", "test", "a\nb", "null", "-",
)  # fmt: skip
REMEDIES = (
    "give", "mend", "set", "remove", "write", "unpack", "rename", "put", "bring", "pack", "choose",
    "fetch", "convert",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """Something to read, and how.

    Attributes:
        name: its ending says the kind. files: contents by the path below it; "" is the file itself.
        links: where names below it lead. options: of ``image_folder``; None: by ``load_images``.
    """

    name: str
    files: dict[str, bytes]
    links: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] | None = None


def picture(draw: Draws, side: int) -> tuple[str, bytes]:
    """An ending, and a file of any mode that its format has, with or without EXIF."""
    pixels = np.random.default_rng(draw.below(100))
    levels = pixels.integers(0, 256, (side, side, 3), dtype=np.uint8)
    ending = draw.choice(list(FORMATS))
    image = Image.fromarray(levels)
    mode = draw.choice(MODES)
    if mode == "I;16":
        image = Image.fromarray(levels[..., 0].astype(np.uint16) * 257)
    elif mode in ("LAB", "HSV", "YCbCr", "CMYK", "P", "RGBA"):
        image = image.convert("RGB" if mode == "LAB" else mode)
    else:
        image = image.convert("L").convert(mode)
    options: dict[str, object] = {}
    if draw.chance(20) and ending in ("jpg", "png", "webp", "tif"):
        exif = Image.Exif()
        exif[0x0112] = draw.below(10)
        options["exif"] = exif
    for chosen in (image, image.convert("RGB"), Image.fromarray(levels)):
        buffer = io.BytesIO()
        try:
            chosen.save(buffer, FORMATS[ending], **options)
        except (OSError, ValueError, KeyError):  # a mode that the format has not
            continue
        return ending, buffer.getvalue()
    raise AssertionError("no format takes RGB")


def noise(draw: Draws, size: int) -> bytes:
    return random.Random(draw.below(100)).randbytes(size)


def damaged(content: bytes, draw: Draws) -> bytes:
    """Bits flipped, the end torn off, bytes put in, or a piece written over."""
    data, at = bytearray(content), draw.below(max(1, len(content)))
    kind = draw.below(5)
    if kind == 0:
        for _ in range(draw.choice((1, 1, 8))):
            data[draw.below(len(data))] ^= 1 << draw.below(8)
    elif kind == 1:
        del data[at:]
    elif kind == 2:
        data[at:at] = noise(draw, 1 + draw.below(39))
    elif kind == 3:
        data[at : at + 8] = draw.choice((b"\x00", b"\xff")) * 8
    else:
        return draw.choice((b"", b"\x00" * 64, b"PK\x03\x04", noise(draw, 64)))
    return bytes(data)


def maybe(content: bytes, draw: Draws, percent: int = 50) -> bytes:
    return damaged(content, draw) if draw.chance(percent) else content


def members(draw: Draws) -> dict[str, bytes]:
    """Files of a folder or a zip by their names."""
    side = draw.choice((1, 3, 8, 8, 17))
    depth = draw.choice((0, 1, 1, 2))

    def member(draw: Draws) -> tuple[str, bytes]:
        other = draw.chance(5)
        ending, content = picture(draw, side + other)
        above = [draw.choice(NAMES) for _ in range(depth - draw.chance(5))]
        ending = draw.choice((ending, ending.upper(), "png", "txt")) if other else ending
        return "/".join([*above, f"{{}}.{ending}"]), maybe(content, draw, 10)

    found = enumerate(draw.several(6, member))
    return {name.format(k): content for k, (name, content) in found}


def a_folder(draw: Draws) -> Case:
    files, links = members(draw), {}
    if draw.chance(10):
        links[draw.choice(("l", "link.png"))] = draw.choice((".", "nowhere"))
    return Case("set", files, links)


def a_zip(draw: Draws) -> Case:
    buffer, method = io.BytesIO(), draw.choice((0, 8, 12, 14))
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members(draw).items():
            # Of the date of no day, so that the same draws make the same bytes.
            within = zipfile.ZipInfo(draw.choice(("", "", "", "../", "/")) + name)
            archive.writestr(within, content, method)
    return Case("set.zip", {"": maybe(buffer.getvalue(), draw)})


def an_npz(draw: Draws) -> Case:
    n, side = draw.choice((4, 4, 4, 1, 0)), draw.choice((6, 6, 6, 1, 0))
    shape = draw.choice(
        ((n, side, side), (n, side, side, 3), (n, 3, side, side), (n, side), (), (n,))
    )
    kind = draw.choice(("u1",) * 12 + ("i8", "f4", "?", "O", "U3", "c8", "V4"))
    arrays = {draw.choice(("images", "samples", "arr_0", "x")): np.zeros(shape, kind)}
    if draw.chance(50):
        labels = draw.choice((np.arange(n), np.eye(max(n, 1)), np.full(n, -1), np.full(n, 2**40)))
        arrays[draw.choice(("labels", "arr_1", "y"))] = labels
    buffer = io.BytesIO()
    draw.choice((np.savez, np.savez_compressed))(buffer, **arrays)
    return Case("set.npz", {"": maybe(buffer.getvalue(), draw)})


def an_idx(draw: Draws) -> Case:
    """A folder of IDX files: of MNIST's sizes none is, so that each must be refused."""
    files = {}
    for name, sizes in (("train-images-idx3", (4, 28, 28)), ("train-labels-idx1", (4,))):
        head = bytes([0, 0, draw.choice((8, 8, 9)), len(sizes)])
        head += b"".join(draw.choice((size, size, 2**31 - 1)).to_bytes(4, "big") for size in sizes)
        content = maybe(head + bytes(int(np.prod(sizes))), draw)
        packed = draw.chance(50)
        if packed:
            content = maybe(gzip.compress(content, mtime=0), draw, 30)
        files[f"{name}-ubyte{'.gz' if packed else ''}"] = content
    return Case("idx", files)


KINDS: dict[str, Callable[[Draws], Case]] = {
    "set": a_folder, "set.zip": a_zip, "set.npz": an_npz, "idx": an_idx,
}  # fmt: skip
OFTEN = ("set", "set", "set", "set", "set.zip", "set.zip", "set.npz", "set.npz", "idx")


def drawn(draw: Draws) -> Case:
    """Something to read."""
    case = KINDS[draw.choice(OFTEN)](draw)
    if case.name in ("set", "set.zip") and draw.chance(50):
        return replace(case, options=_trained_on(draw))
    return case


def _trained_on(draw: Draws) -> dict[str, Any]:
    """How a training reads it."""
    size, fit = draw.choice((None, None, 4)), draw.choice(("squash", "crop", "pad"))
    return {
        "size": size, "fit": fit if size else "squash", "grey": draw.chance(50),
        "on_error": draw.choice(("refuse", "skip")),
    }  # fmt: skip


def written(case: Case, folder: str) -> Path:
    """The path of the case below ``folder``, where it lies now."""
    path = Path(folder, case.name)
    if case.name in ("set", "idx"):
        path.mkdir()
    for name, content in case.files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    for name, target in case.links.items():
        (path / name).symlink_to(path / target)
    return path


def outcome(case: Case) -> tuple[str, str]:
    """``images``, ``refused`` or ``fault``, and what was said."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(written(case, folder))
        key, read = "images", lambda: load_images(path, "images")
        if case.name == "idx":
            key, read = "data.root", MNIST(path).load
        elif case.options is not None:
            key, read = "data.path", lambda: image_folder(path, **case.options)
        try:
            return judged(read())
        except InputError as error:
            return judged_line(str(error), (key, "data."), folder)
        except Exception as error:
            return "fault", f"{case.name}: {type(error).__name__}: {error}"


def judged(found: ImageSet) -> tuple[str, str]:
    """Images are [N, C, H, W] of bytes, N > 0, with as many labels in the range of the classes."""
    x, labels = found.images, found.labels
    whole = x.ndim == 4 and len(x) > 0 and str(x.dtype) == "torch.uint8"
    if labels is not None:
        whole &= labels.shape == (len(x),) and 0 <= int(labels.min()) <= int(labels.max())
        whole &= int(labels.max()) < found.classes
    return ("images", "") if whole else ("fault", f"{tuple(x.shape)}, {x.dtype}, {found.described}")


def judged_line(line: str, keys: tuple[str, ...], folder: str) -> tuple[str, str]:
    """A refusal is one printable line of some length that begins with a key and has a remedy."""
    good = line.isprintable() and len(line) < 900 + len(folder) and line.startswith(keys)
    good &= any(word in line.replace(folder, "") for word in REMEDIES)
    return ("refused", line) if good else ("fault", f"refused badly: {line}")
