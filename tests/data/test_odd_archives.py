"""Zips, numpy archives and other files that hold many pictures: bounded before they are read,
and where they are no set of pictures one line says what makes one.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sde_diffusion.data import image_folder, image_npz, load_images
from sde_diffusion.errors import InputError

RNG = np.random.default_rng(0)


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def zipped(path: Path, names: list[str], method: int = zipfile.ZIP_DEFLATED) -> str:
    buffer = io.BytesIO()
    Image.fromarray(noise(4, 4, 3)).save(buffer, "PNG")
    with zipfile.ZipFile(path, "w", method) as archive:
        for name in names:
            archive.writestr(name, buffer.getvalue())
    return str(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a/0.png", "a/0.png"], r"holds a/0\.png twice"),
        (["a/0.png", "a\\0.png"], r"holds a/0\.png twice"),
        (["/etc/0.png"], "outside"),
        (["a/../../0.png"], "outside"),
        (["C:/0.png"], "outside"),
        (["notes.txt"], r"no images .*1 \.txt"),
    ],
)
def test_odd_names_in_a_zip_are_one_line(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        image_folder(zipped(tmp_path / "a.zip", names))


def test_zips_that_hide_what_they_hold_are_refused(tmp_path: Path) -> None:
    path = Path(zipped(tmp_path / "a.zip", ["0.png"]))
    content = bytearray(path.read_bytes())
    for sign, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(sign) + at] |= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"0\.png is broken \(encrypted"):
        image_folder(str(path))
    # Their decompressors have no bound on what a piece becomes.
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with pytest.raises(InputError, match="pack it by deflate"):
            image_folder(zipped(tmp_path / "b.zip", ["0.png"], method))


def test_memory_is_asked_for_before_it_is_spent(tmp_path: Path) -> None:
    """23 kB that took 4.6 GB."""
    buffer = io.BytesIO()
    Image.new("L", (6000, 6000)).save(buffer, "PNG")
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for k in range(400):
            archive.writestr(f"{k}.png", buffer.getvalue())
    with pytest.raises(InputError, match=r"unpacks to 40\.2 GiB or more, over 2 GiB"):
        image_folder(str(tmp_path / "a.zip"))
    with pytest.raises(InputError, match=r"a\.npz: unpacks to 10\.0 GiB"):
        image_npz(huge_npz(tmp_path / "a.npz", 10 * 2**30))


def huge_npz(path: Path, size: int) -> str:
    """Headers that agree on ``size`` bytes, few of which are there."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (size >> 20, 1024, 1024)}
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", header.getvalue())
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02") + 24
    assert size + len(header.getvalue()) >= 2**32  # so it needs the long form: written by zipfile
    content[at : at + 4] = (0xFFFFFFFF).to_bytes(4, "little")
    extra = (1).to_bytes(2, "little") + (8).to_bytes(2, "little")
    extra += (size + len(header.getvalue())).to_bytes(8, "little")
    name_end = at + 22 + len("images.npy")
    content[at + 6 : at + 8] = len(extra).to_bytes(2, "little")
    content[name_end:name_end] = extra
    end = content.index(b"PK\x05\x06")
    length = int.from_bytes(content[end + 12 : end + 16], "little") + len(extra)
    content[end + 12 : end + 16] = length.to_bytes(4, "little")
    path.write_bytes(content)
    return str(path)


def test_arrays_that_are_not_read_are_named(tmp_path: Path) -> None:
    """The twin said nothing, and a training was without its labels."""
    path = tmp_path / "a.npz"
    np.savez(path, images=noise(4, 2, 2, 3), y=np.arange(4))
    assert (
        "no labels; not read: y; labels are read by the name labels"
        in image_npz(str(path)).described
    )
    np.savez(path, images=noise(4, 2, 2, 3), labels=np.arange(4) * 2)
    assert image_npz(str(path)).described.endswith("7 classes; 3 of the classes without an image")
    np.savez(path, arr_0=noise(4, 2, 2, 3), arr_1=np.arange(4))
    assert image_npz(str(path)).described.endswith("4 classes")
    np.savez(path, images=noise(4, 2, 2, 3), seeds=np.arange(4), noise_version=2)  # one of ours
    assert image_npz(str(path)).described.endswith("no labels")


@pytest.mark.parametrize(
    "labels",
    [np.eye(4), np.eye(4, dtype=int), np.arange(4)[:, None], np.array(["a", "b", "a", "c"])],
)
def test_labels_of_other_kinds_say_what_makes_them(tmp_path: Path, labels: np.ndarray) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, images=noise(4, 2, 2, 3), labels=labels)
    with pytest.raises(InputError, match=r"give whole numbers >= 0, \[4\], ") as caught:
        image_npz(str(path))
    remedy = str(caught.value).split("[4], ")[1]
    np.savez(path, images=noise(4, 2, 2, 3), labels=eval(remedy, {"labels": labels, "numpy": np}))
    assert image_npz(str(path)).labels is not None


def test_images_of_bits_say_what_makes_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=noise(4, 2, 2) > 99)
    with pytest.raises(InputError, match=r"give uint8, array\.astype\('uint8'\) \* 255"):
        image_npz(str(tmp_path / "a.npz"))


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("a.npy", "numpy.savez"), ("a.tar", "unpack it"), ("a.png", "the folder that it lies in")],
)
def test_files_that_are_no_set_say_what_makes_one(tmp_path: Path, name: str, remedy: str) -> None:
    (tmp_path / name).write_bytes(b"x" * 100)
    with pytest.raises(InputError, match=remedy):
        load_images(str(tmp_path / name), "images")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="give a folder of files with these endings"):
        load_images(str(tmp_path / "empty"), "images")


@pytest.mark.parametrize(
    ("dtype", "levels"),
    [
        ("uint16", [0, 65535]),
        ("int32", [0, 4095]),
        ("float32", [0.0, 60000.0]),
        ("int8", [-128, 127]),
    ],
)
def test_the_remedy_for_other_levels_keeps_them_apart(
    tmp_path: Path, dtype: str, levels: list[float]
) -> None:
    """Half way between the ends is half way between black and white: what the twin says, to cut off
    at 255, makes all but the darkest white."""
    array = np.linspace(*levels, 48).astype(dtype).reshape(3, 4, 4)
    np.savez(tmp_path / "a.npz", images=array)
    with pytest.raises(InputError, match=r"give uint8, .*array") as caught:
        load_images(str(tmp_path / "a.npz"), "images")
    made = eval(str(caught.value).partition("give uint8, ")[2], {"array": array})
    assert made.dtype == np.uint8
    assert len(np.unique(made)) == 48
    assert abs(int(made.flat[24]) - 128) < 12
