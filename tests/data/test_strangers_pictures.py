"""Pictures and sets as other programs write them: read as they look, or one line says why not."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
import torch
from PIL import Image, TiffImagePlugin

from sde_diffusion import load
from sde_diffusion.data import image_folder, image_npz, load_images
from sde_diffusion.data.photos import measurement, photos
from sde_diffusion.errors import InputError
from sde_diffusion.images.decode import decode
from sde_diffusion.images.photo import photo
from tests.refusals import refused

BEFORE_13 = int(PIL.__version__.partition(".")[0]) < 13
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 6), dtype=np.uint8)


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, depth: int, colours: int, row: bytes, more: bytes = b"") -> bytes:
    """One row, of any number of bits."""
    head = struct.pack(">IIBBBBB", width, 1, depth, colours, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + more + body


def tiff(array: np.ndarray, **tags: Any) -> bytes:
    """Of 8 bits, with other tags than Pillow would write."""
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for number, value in tags.items():
        info[int(number.removeprefix("tag"))] = value
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "TIFF", tiffinfo=info)
    return buffer.getvalue()


@pytest.mark.parametrize(("depth", "row"), [(2, 0b00011011), (4, 0b00010011), (1, 0b10000000)])
def test_a_clear_level_of_few_bits_is_not_seen(depth: int, row: int) -> None:
    """The second pixel of 2 bits, the first of the others: Pillow left it as it was."""
    clear = chunk(b"tRNS", struct.pack(">H", 1))
    read = decode(png(2, depth, 0, bytes([row]), clear), None, "L")
    assert read.array[0, :, 0].tolist() == {2: [0, 255], 4: [255, 51], 1: [255, 0]}[depth]


def test_grey_and_alpha_of_16_bits_is_grey() -> None:
    row = np.array([0x1234, 0xFFFF, 0x80FF, 0], ">u2").tobytes()
    read = decode(png(2, 16, 4, row), None, "RGB")
    assert read.grey
    assert read.array[0, :, 0].tolist() == [0x12, 255]
    with pytest.raises(ValueError, match="save it without"):
        photo(png(2, 16, 4, row))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (lambda: tiff(GREY, tag339=(2,)), "signed integers of 8 bits; convert it"),
        (lambda: b"II*\0" + bytes(40), "TIFF that is torn, or of numbers .*; save it with 8 bits"),
        (lambda: b"\0\0\0 ftypavif" + bytes(40), "AVIF, which is not read; save it as PNG"),
    ],
)
def test_what_a_picture_is_not_read_for(content: Callable[[], bytes], says: str) -> None:
    for read in (lambda: decode(content(), None, "RGB"), lambda: photo(content())):
        with pytest.raises(ValueError, match=says):
            read()


@pytest.mark.skipif(BEFORE_13, reason="Pillow before 13 reads no such file; a line says so")
def test_channels_that_do_not_show_are_said() -> None:
    assert decode(tiff(noise(4, 4, 3)), None, "RGB").notes == ()
    # Two channels of which neither is said to be what shows through.
    shows, unsaid = (struct.pack("<HHLHH", 338, 3, 1, kind, 0) for kind in (2, 0))
    two = tiff(np.stack([GREY, GREY], -1))
    assert shows in two
    (note,) = decode(two.replace(shows, unsaid), None, "L").notes
    assert "left out" in note


def folder(path: Path, *names: str) -> str:
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(4, 4, 3)).save(path / name)
    return str(path)


def test_splits_in_any_capitals_are_splits(tmp_path: Path) -> None:
    path = folder(tmp_path / "a", "Train/cat/0.png", "Test/cat/1.png", "Test/dog/2.png")
    assert image_folder(path).class_names == ("cat", "dog")
    assert image_folder(path, split="test").class_names == ("cat", "dog")
    other = folder(tmp_path / "b", "training/cat/0.png", "testing/cat/1.png")
    assert "of the splits testing, training together" in image_folder(other).described


def test_a_split_below_another_folder_is_found_by_what_is_said(tmp_path: Path) -> None:
    path = folder(tmp_path, "images/train/0.png", "images/test/1.png")
    with refused(f"data.path={path}: no images", f"data.path={path}/images") as _:
        image_folder(path, split="train")
    assert len(image_folder(f"{path}/images", split="train")) == 1


def test_a_folder_without_an_image_and_links_in_a_circle_are_said(tmp_path: Path) -> None:
    path = folder(tmp_path, "cat/0.png", "dog/0.png")
    (tmp_path / "owl").mkdir()
    assert "1 empty folder" in image_folder(path).described
    os.symlink("b.png", tmp_path / "owl" / "a.png")
    os.symlink("a.png", tmp_path / "owl" / "b.png")
    with pytest.raises(InputError, match="which leads in a circle"):
        image_folder(path)


def zipped(path: Path, names: dict[str, bytes]) -> str:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in names.items():
            archive.writestr(name, content)
    return str(path)


def test_archives_within_archives_and_of_other_things(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(noise(4, 4, 3)).save(buffer, "PNG")
    one = buffer.getvalue()
    dotted = zipped(tmp_path / "a.zip", {"./cat/0.png": one, "./dog/0.png": one})
    assert image_folder(dotted).class_names == ("cat", "dog")
    with pytest.raises(InputError, match=r"unpack the \.tar in it"):
        load_images(zipped(tmp_path / "b.zip", {"images.tar": b"x"}), "images")
    with pytest.raises(InputError, match=r"call it \.zip"):
        load_images(zipped(tmp_path / "b.npz", {"0.png": one}), "images")
    torch.save(torch.zeros(2, 3, 4, 4), tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"a torch file; .*numpy\.savez"):
        load_images(str(tmp_path / "a.pt"), "images")
    np.savez(tmp_path / "c.npz", images=noise(2, 4, 4, 3))
    (tmp_path / "c.npz").rename(tmp_path / "c.zip")
    with pytest.raises(InputError, match=r"arrays are read by data=npz data\.path=.*c\.zip"):
        image_folder(str(tmp_path / "c.zip"))
    link = zipfile.ZipInfo("1.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        archive.writestr("0.png", one)
        archive.writestr(link, "0.png")
    with pytest.raises(InputError, match=r"1\.png is broken \(a link; pack the file itself\)"):
        image_folder(str(tmp_path / "d.zip"))


@pytest.mark.parametrize("name", ["a", "a.npz", "a.zip", "a.npy", "a.safetensors", "run"])
def test_a_pipe_is_waited_for_by_nobody(name: str, tmp_path: Path) -> None:
    """Each of these opened it, and stood still."""
    path = tmp_path / name
    if name == "run":
        path.mkdir()
    os.mkfifo(path / "model.safetensors" if name == "run" else path)
    readers: list[Callable[[], object]] = [lambda: load(path)]
    if name != "run":
        readers += [lambda: load_images(str(path), "images"), lambda: photos(str(path), "i", 1)]
        readers += [lambda: image_npz(str(path))]
    for read in readers[:4]:
        with pytest.raises(InputError) as caught:
            read()
        assert str(caught.value).isprintable()
    assert measurement(str(path)) is None


def test_captions_in_a_pipe_are_none(tmp_path: Path) -> None:
    path = folder(tmp_path, "a.png")
    for name in ("a.txt", "m.csv"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(InputError, match=r"not there|no such file"):
            image_folder(path, captions="txt" if name == "a.txt" else name)


ARRAYS: dict[str, tuple[np.ndarray, tuple[int, ...]]] = {
    "images last": (noise(6, 5, 3, 9), (9, 6, 5, 3)),
    "four channels first": (noise(9, 4, 6, 5), (9, 6, 5, 4)),
    "bits as bytes": (np.array([0, 1], np.uint8).repeat(36).reshape(2, 6, 6), (2, 6, 6)),
    "0 .. 2": (np.linspace(0, 2, 72, dtype=np.float32).reshape(2, 6, 6), (2, 6, 6)),
    "10 bits": (np.linspace(0, 1020, 72).reshape(2, 6, 6).astype(np.uint16), (2, 6, 6)),
    "32 bits": (np.linspace(0, 2**32 - 2, 72).reshape(2, 6, 6).astype(np.uint32), (2, 6, 6)),
    "Hounsfield": (np.linspace(-1000, 3000, 72).reshape(2, 6, 6).astype(np.int16), (2, 6, 6)),
    "whole 0 and 1": (np.array([0, 1]).repeat(36).reshape(2, 6, 6), (2, 6, 6)),
    "past 1": (np.linspace(0, 1.2, 72).reshape(2, 6, 6), (2, 6, 6)),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_the_remedy_of_an_array_makes_pictures_of_it(name: str, tmp_path: Path) -> None:
    """Typed as it stands; from black to white where the array goes from its least to its most."""
    array, shape = ARRAYS[name]
    np.savez(tmp_path / "a.npz", images=array)
    with pytest.raises(InputError, match="give ") as caught:
        image_npz(str(tmp_path / "a.npz"))
    remedy = str(caught.value).partition("give ")[2]
    for lead in ("uint8, ", "[N, H, W, C], "):
        remedy = remedy.removeprefix(lead)
    made = eval(remedy, {"array": array})
    assert made.shape == shape
    np.savez(tmp_path / "a.npz", images=made)
    found = image_npz(str(tmp_path / "a.npz")).images
    if "channels" not in name and "last" not in name:
        assert int(found.max()) - int(found.min()) > 250


def test_labels_that_are_whole_but_for_their_type(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    for labels in (np.arange(3.0), np.array([True, False, True])):
        np.savez(path, images=noise(3, 4, 4), labels=labels)
        with pytest.raises(InputError, match=r"labels\.astype\('int64'\)"):
            image_npz(str(path))
    several = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 0]])
    np.savez(path, images=noise(3, 4, 4), labels=several)
    with pytest.raises(InputError, match=r"give whole numbers >= 0, \[3\]$"):
        image_npz(str(path))
    np.savez(path, images=noise(3, 4, 4), labels=[-1, 0, 1])
    with pytest.raises(InputError, match=r"int64 \(3,\) from -1"):
        image_npz(str(path))


def captioned(path: Path, table: str, content: bytes) -> tuple[tuple[str, ...], str]:
    folder(path, "a.png", "b.png")
    (path / table).write_bytes(content)
    found = image_folder(str(path), captions="txt" if table.endswith(".txt") else table)
    return found.captions, found.described


def test_captions_as_spreadsheets_and_editors_write_them(tmp_path: Path) -> None:
    rows = b" File_Name , Text\r\na.png,a cat\r\nb.png,a dog\r\n"
    assert captioned(tmp_path / "1", "m.csv", rows)[0] == ("a cat", "a dog")
    rows = "\n".join(
        json.dumps({"file_name": f"{n}.png", "text": f"a\u2028{n}"}, ensure_ascii=False)
        for n in "ab"
    ).encode()
    texts, described = captioned(tmp_path / "2", "m.jsonl", rows)
    assert texts == ("a a", "a b")
    assert "skipped" not in described  # the table was read
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "b.txt").write_text("x")
    assert captioned(tmp_path / "3", "a.txt", "\ufeffa cat".encode())[0] == ("a cat", "x")


@pytest.mark.parametrize(
    ("table", "content", "says"),
    [
        ("m.csv", b"file_name;text\na.png;a\n", "and text, or txt, parted by commas in .* of ';'"),
        ("m.csv", b"file_name,text,text\na.png,a,b\n", "two columns are called 'text'"),
        ("m.csv", b"file_name,text\na.png\nb.png,x\n", "line 2: text is empty; give one text"),
        ("m.jsonl", b'{"file_name": "a.png", "text": ["x"]}', "line 1: text is of type list"),
        ("m.jsonl", b'{"file_name": "a.png", "text": "a\\ud800"}\n'
         b'{"file_name": "b.png", "text": "x"}', r"U\+D800, which is no letter; leave it out"),
        ("m.csv", b"file_name,text\na.png,a\x1b[31m\nb.png,x\n", r"U\+001B, which is no letter"),
    ],
)  # fmt: skip
def test_captions_that_cannot_be_said_are_one_line(
    tmp_path: Path, table: str, content: bytes, says: str
) -> None:
    with pytest.raises(InputError, match=rf"^data\.captions={table}: .*{says}") as caught:
        captioned(tmp_path, table, content)
    assert str(caught.value).isprintable()
