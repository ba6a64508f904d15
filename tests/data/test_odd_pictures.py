"""Pictures and sets that people have and tests had not: as viewers show them, or one line."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sde_diffusion.data import image_folder, image_npz
from sde_diffusion.data.photos import photos
from sde_diffusion.errors import InputError
from sde_diffusion.images.decode import decode, resized
from sde_diffusion.images.photo import photo
from tests.data.test_strangers_pictures import BEFORE_13, chunk, folder, noise, png, tiff, zipped
from tests.refusals import refused

DEEP = np.arange(0, 65536, 1366, np.uint16).reshape(6, 8)


@pytest.mark.parametrize("white", [65535, 1023])
def test_a_pgm_of_more_than_8_bits_is_grey_of_16(white: int) -> None:
    """It was refused as integers of 32 bits, which it has not."""
    levels = (DEEP.astype(int) * white // 65535).astype(">u2")
    content = b"P5\n8 6\n%d\n" % white + levels.tobytes()
    read, deep = decode(content, None, "L"), photo(content)
    assert read.grey
    assert np.abs(read.array[..., 0] - levels / white * 255).max() <= 0.51
    assert deep.white == 65535
    assert np.abs(deep.levels[0].numpy() - levels / white * 65535).max() <= 1


@pytest.mark.skipif(BEFORE_13, reason="Pillow before 13 reads no such file; a line says so")
def test_grey_whose_alpha_is_in_it_already_is_put_on_white() -> None:
    """Tag 338: 1; Pillow has no way from there to colours, and said so."""
    levels, alpha = noise(4, 4), noise(4, 4)
    within = (levels.astype(int) * alpha // 255).astype(np.uint8)
    outside, inside = (struct.pack("<HHLHH", 338, 3, 1, kind, 0) for kind in (2, 1))
    content = tiff(np.stack([within, alpha], -1)).replace(outside, inside)
    wanted = within.astype(int) + 255 - alpha
    assert np.abs(decode(content, None, "L").array[..., 0] - wanted).max() <= 2


def test_a_clear_colour_of_16_bits_is_not_seen() -> None:
    """Pillow held its 16 bits against the upper 8 of the pixels."""
    row = np.array([[0x1234, 0x5678, 0x9ABC], [0xFFFF, 0, 0x8080]], ">u2")
    clear = chunk(b"tRNS", row[0].tobytes())
    read = decode(png(2, 16, 2, row.tobytes(), clear), None, "RGB")
    assert read.array[0].tolist() == [[255, 255, 255], [255, 0, 0x80]]


def test_a_gamma_of_its_own_is_said() -> None:
    for gamma, said in ((100000, 1), (45455, 0)):
        more = chunk(b"gAMA", struct.pack(">I", gamma))
        assert len(decode(png(1, 8, 2, b"abc", more), None, "RGB").notes) == said


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:a\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html>404</html>", "page of the web .* fetch it again"),
        (b"", "an empty file; fetch it again"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL, which is not read; save it as PNG"),
        (b"%PDF-1.7\n", "PDF, which is not read; save it as PNG"),
    ],
)
def test_what_came_in_the_place_of_a_picture_is_named(content: bytes, says: str) -> None:
    for read in (lambda: decode(content, None, "RGB"), lambda: photo(content)):
        with pytest.raises(ValueError, match=says):
            read()


@pytest.mark.parametrize("side", [9000, 12000, 20000])
def test_a_huge_picture_is_to_be_made_smaller(side: int) -> None:
    """It was to be saved anew, as PNG; Pillow's own bounds have other words, and raise twice."""
    content = png(side, 1, 0, bytes(side // 8))
    start = content.index(b"IHDR")
    head = struct.pack(">II", side, side) + content[start + 12 : start + 17]
    huge = content[: start - 4] + chunk(b"IHDR", head) + content[start + 21 :]
    for read in (lambda: decode(huge, None, "L"), lambda: photo(huge)):
        with pytest.raises(ValueError, match=r"pixels.* give a smaller one$"):
            read()


def test_a_thin_picture_is_seen_where_it_is_padded() -> None:
    """Its narrower side was rounded to no pixel, and the picture to black."""
    for shape in ((1, 3, 1, 300), (1, 3, 300, 1), (1, 3, 2, 33)):
        small = resized(np.full(shape, 200, np.uint8), 8, "pad")
        assert (small == 200).sum() == 3 * 8
        assert (small == 0).sum() == 3 * 56


def test_pictures_that_are_nearly_black_are_said_to_be(tmp_path: Path) -> None:
    """Levels of 12 bits in files of 16; numbers of a mask."""
    Image.fromarray((DEEP // 16).astype(np.uint16)).save(tmp_path / "camera.png")
    note = "no level above 16 of 255: nearly black"
    assert note in image_folder(str(tmp_path)).described
    assert any(
        "4012 of 65535" in each
        for each in photo(tmp_path.joinpath("camera.png").read_bytes()).notes
    )
    np.savez(tmp_path / "a.npz", images=noise(2, 4, 4) % 16)
    assert "nearly black" in image_npz(str(tmp_path / "a.npz")).described
    np.savez(tmp_path / "a.npz", images=noise(2, 4, 4) | 64)
    assert "black" not in image_npz(str(tmp_path / "a.npz")).described


def test_classes_may_be_numbers_and_others_have_a_remedy(tmp_path: Path) -> None:
    path = folder(tmp_path, "2/a.png", "10/a.png", "1/a.png")
    found = image_folder(path, classes=[1, 2, 10])  # type: ignore[list-item]
    assert found.class_names == ("1", "2", "10")
    assert found.labels is not None
    assert found.labels.tolist() == [0, 2, 1]
    with refused(f"data.path={path}: folders ['1']", "in data.classes, or leave it out"):
        image_folder(path, classes=["2", "10"])


def test_splits_that_are_called_otherwise_or_lie_in_a_zip(tmp_path: Path) -> None:
    path = folder(tmp_path / "a", "train/cat/0.png", "val/cat/1.png")
    with refused(f"data.path={path}: no images", "choose data.split=train or data.split=val"):
        image_folder(path, split="test")
    assert len(image_folder(path, split="val")) == 1
    one = (tmp_path / "a/val/cat/1.png").read_bytes()
    packed = zipped(tmp_path / "b.zip", {"d/train/cat/0.png": one, "d/test/cat/1.png": one})
    with refused(f"data.path={packed}: no images", "unpack it, and give the folder d in it"):
        image_folder(packed, split="train")
    zipfile.ZipFile(packed).extractall(tmp_path / "out")
    assert len(image_folder(str(tmp_path / "out" / "d"), split="train")) == 1


def test_names_in_a_zip_are_those_that_were_packed(tmp_path: Path) -> None:
    """In UTF-8 without the flag that says so, as some packers write; and of the old code page."""
    buffer = io.BytesIO()
    Image.fromarray(noise(4, 4, 3)).save(buffer, "PNG")
    content = Path(zipped(tmp_path / "a.zip", {"größe/1.png": buffer.getvalue()})).read_bytes()
    for mark, at in ((b"PK\3\4", 7), (b"PK\1\2", 9)):
        place = content.index(mark) + at
        content = content[:place] + bytes([content[place] & ~8]) + content[place + 1 :]
    (tmp_path / "a.zip").write_bytes(content)
    assert image_folder(str(tmp_path / "a.zip")).class_names == ("größe",)
    other = content.replace("größe".encode(), b"gr\x94\xe1erx")
    (tmp_path / "a.zip").write_bytes(other)
    assert image_folder(str(tmp_path / "a.zip")).class_names == ("größerx",)


def test_a_folder_that_all_pictures_lie_in_is_no_part_of_their_names(tmp_path: Path) -> None:
    """A zip of a folder holds that folder: its pictures had no masks of their names."""
    buffer = io.BytesIO()
    Image.fromarray(noise(4, 4)).save(buffer, "PNG")
    one = buffer.getvalue()
    names = dict.fromkeys(("dir/p.png", "dir/q.png"), one)
    assert set(photos(zipped(tmp_path / "a.zip", names), "image", 1)) == {"p", "q"}
    names = dict.fromkeys(("dir/a/p.png", "dir/b/p.png"), one)
    assert set(photos(zipped(tmp_path / "b.zip", names), "image", 1)) == {"a-p", "b-p"}
    with pytest.raises(InputError, match="two pictures are called p"):
        photos(zipped(tmp_path / "c.zip", dict.fromkeys(("d/p.png", "d/p.jpg"), one)), "image", 1)
