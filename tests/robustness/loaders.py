"""Folders, archives and single files of images, drawn at random, whole and damaged: images, or one
line that names the key and a remedy."""

from __future__ import annotations

import gzip
import io
import random
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from sde_diffusion.data import MNIST, image_folder, load_images
from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet

MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I;16", "I", "F")
FORMATS = {
    "png": "PNG", "jpg": "JPEG", "gif": "GIF", "tif": "TIFF", "webp": "WEBP", "bmp": "BMP",
    "ppm": "PPM",
}  # fmt: skip
NAMES = (
    "a",
    "B",
    "1",
    "10",
    " a",
    "größe",
    "x=1",
    "a.b",
    ".h",
    "train",
    "test",
    "a\nb",
    "null",
    "-",
)
REMEDIES = (
    "give", "mend", "set", "remove", "write", "unpack", "rename", "put", "bring", "pack", "choose",
    "fetch", "convert",
)  # fmt: skip


def picture(rng: random.Random, side: int) -> tuple[str, bytes]:
    """An ending, and a file of any mode that its format has, with or without EXIF."""
    levels = np.frombuffer(rng.randbytes(side * side * 3), np.uint8).reshape(side, side, 3)
    ending = rng.choice(list(FORMATS))
    image = Image.fromarray(levels)
    mode = rng.choice(MODES)
    if mode == "I;16":
        image = Image.fromarray(levels[..., 0].astype(np.uint16) * 257)
    elif mode in ("LAB", "HSV", "YCbCr", "CMYK", "P", "RGBA"):
        image = image.convert("RGB" if mode == "LAB" else mode)
    else:
        image = image.convert("L").convert(mode)
    options: dict[str, object] = {}
    if rng.random() < 0.2 and ending in ("jpg", "png", "webp", "tif"):
        exif = Image.Exif()
        exif[0x0112] = rng.randrange(10)
        options["exif"] = exif
    for chosen in (image, image.convert("RGB"), Image.fromarray(levels)):
        buffer = io.BytesIO()
        try:
            chosen.save(buffer, FORMATS[ending], **options)
        except (OSError, ValueError, KeyError):  # a mode that the format has not
            continue
        return ending, buffer.getvalue()
    raise AssertionError("no format takes RGB")


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Bits flipped, the end torn off, bytes put in, or a piece written over."""
    data, at = bytearray(content), rng.randrange(max(1, len(content)))
    kind = rng.randrange(5)
    if kind == 0:
        for _ in range(rng.choice((1, 1, 8))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del data[at:]
    elif kind == 2:
        data[at:at] = rng.randbytes(rng.randrange(1, 40))
    elif kind == 3:
        data[at : at + 8] = rng.choice((b"\x00", b"\xff")) * 8
    else:
        return rng.choice((b"", b"\x00" * 64, b"PK\x03\x04", rng.randbytes(64)))
    return bytes(data)


def maybe(content: bytes, rng: random.Random, chance: float = 0.5) -> bytes:
    return damaged(content, rng) if rng.random() < chance else content


def members(rng: random.Random) -> dict[str, bytes]:
    """Files of a folder or a zip by their names."""
    side = rng.choice((1, 3, 8, 8, 17))
    depth, files = rng.choice((0, 1, 1, 2)), {}
    for k in range(rng.randrange(7)):
        other = rng.random() < 0.05
        ending, content = picture(rng, side + other)
        above = [rng.choice(NAMES) for _ in range(depth - (rng.random() < 0.05))]
        ending = rng.choice((ending, ending.upper(), "png", "txt")) if other else ending
        files["/".join([*above, f"{k}.{ending}"])] = maybe(content, rng, 0.1)
    return files


def a_folder(path: Path, rng: random.Random) -> None:
    path.mkdir()
    for name, content in members(rng).items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    if rng.random() < 0.1:
        (path / rng.choice(("l", "link.png"))).symlink_to(path / rng.choice((".", "nowhere")))


def a_zip(path: Path, rng: random.Random) -> None:
    buffer, method = io.BytesIO(), rng.choice((0, 8, 12, 14))
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members(rng).items():
            archive.writestr(rng.choice(("", "", "", "../", "/")) + name, content)
    path.write_bytes(maybe(buffer.getvalue(), rng))


def an_npz(path: Path, rng: random.Random) -> None:
    n, side = rng.choice((0, 1, 4, 4, 4)), rng.choice((0, 1, 6, 6, 6))
    shape = rng.choice(
        ((n, side, side), (n, side, side, 3), (n, 3, side, side), (n, side), (), (n,))
    )
    kind = rng.choice(("u1",) * 12 + ("i8", "f4", "?", "O", "U3", "c8", "V4"))
    arrays = {rng.choice(("images", "samples", "arr_0", "x")): np.zeros(shape, kind)}
    if rng.random() < 0.5:
        labels = rng.choice((np.arange(n), np.eye(max(n, 1)), np.full(n, -1), np.full(n, 2**40)))
        arrays[rng.choice(("labels", "arr_1", "y"))] = labels
    buffer = io.BytesIO()
    rng.choice((np.savez, np.savez_compressed))(buffer, **arrays)
    path.write_bytes(maybe(buffer.getvalue(), rng))


def an_idx(path: Path, rng: random.Random) -> None:
    """A folder of IDX files: of MNIST's sizes none is, so that each must be refused."""
    path.mkdir()
    for name, sizes in (("train-images-idx3", (4, 28, 28)), ("train-labels-idx1", (4,))):
        head = bytes([0, 0, rng.choice((8, 8, 9)), len(sizes)])
        head += b"".join(rng.choice((size, size, 2**31 - 1)).to_bytes(4, "big") for size in sizes)
        content = maybe(head + bytes(int(np.prod(sizes))), rng)
        packed = rng.random() < 0.5
        file = path / f"{name}-ubyte{'.gz' if packed else ''}"
        file.write_bytes(maybe(gzip.compress(content), rng, 0.3) if packed else content)


KINDS: dict[str, Callable[[Path, random.Random], None]] = {
    "set": a_folder, "set.zip": a_zip, "set.npz": an_npz, "idx": an_idx,
}  # fmt: skip


def outcome(seed: int) -> tuple[str, str]:
    """``images``, ``refused`` or ``fault``, and what was said."""
    rng = random.Random(seed)
    name = rng.choices(list(KINDS), (4, 2, 2, 1))[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        KINDS[name](path, rng)
        key, read = "images", lambda: load_images(str(path), "images")
        if name == "idx":
            key, read = "data.root", MNIST(str(path)).load
        elif name != "set.npz" and rng.random() < 0.5:
            key = "data.path"
            read = _trained_on(path, rng)
        try:
            return judged(read())
        except InputError as error:
            return judged_line(str(error), (key, "data."), folder)
        except Exception as error:
            return "fault", f"{name}: {type(error).__name__}: {error}"


def _trained_on(path: Path, rng: random.Random) -> Callable[[], ImageSet]:
    """As a training reads it."""
    size, fit = rng.choice((None, None, 4)), rng.choice(("squash", "crop", "pad"))
    options = {
        "size": size, "fit": fit if size else "squash", "grey": rng.random() < 0.5,
        "on_error": rng.choice(("refuse", "skip")),
    }  # fmt: skip
    return lambda: image_folder(str(path), **options)


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
