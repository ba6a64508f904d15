"""Image files in folders and zips: read alike, labelled by folder; broken ones are named."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sde_diffusion.config.compose import compose_task
from sde_diffusion.data import CIFAR10, image_folder, load_images  # fmt: skip
from sde_diffusion.data.cifar10 import CLASSES
from sde_diffusion.data.files import MAX_BYTES
from sde_diffusion.data.splits import both_splits
from sde_diffusion.errors import InputError
from sde_diffusion.images.decode import decode
from tests.refusals import refused


def picture(level: int, size: int = 4) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), (level, level, level)).save(buffer, "PNG")
    return buffer.getvalue()


FILES = {
    "train/cat/1.png": picture(10),
    "train/cat/2.png": picture(20),
    "train/dog/1.png": picture(30),
    "__MACOSX/train/cat/1.png": b"junk",
    "train/notes.txt": b"text",
}


def both(tmp_path: Path, files: dict[str, bytes]) -> list[str]:
    for name, content in files.items():
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return [str(tmp_path / "folder"), str(tmp_path / "all.zip")]


def test_folder_and_zip_are_the_same(tmp_path: Path) -> None:
    for path in both(tmp_path, FILES):
        found = image_folder(path, split="train")
        assert found.images[:, 0, 0, 0].tolist() == [10, 20, 30]
        assert found.labels is not None
        assert found.labels.tolist() == [0, 0, 1]
        assert found.classes == 2
        assert image_folder(path, split="train", size=2, grey=True).images.shape == (3, 1, 2, 2)
        # Stored as colours, grey as they are: by its pixels a black set would be of another shape.
        assert load_images(path, key="images").images.shape[1] == 3


def test_labels_follow_the_order_of_the_classes_that_are_named(tmp_path: Path) -> None:
    for path in both(tmp_path, FILES):
        found = image_folder(path, split="train", classes=["emu", "dog", "cat"])
        assert found.labels is not None
        assert (found.labels.tolist(), found.classes) == ([2, 2, 1], 3)
        with pytest.raises(InputError, match=r"folders \['dog'\] are none of the classes"):
            image_folder(path, split="train", classes=["cat"])


def jpeg(rng: np.random.Generator, size: int = 32) -> bytes:
    buffer = io.BytesIO()
    pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG", quality=75)
    return buffer.getvalue()


def test_cifar10_is_read_by_split_and_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    files = {f"train/{c}/{k:04}.jpg": jpeg(rng) for c in CLASSES for k in (0, 1)}
    # A class with no image in this split must not move the labels of the others.
    files |= {f"test/{c}/0000.jpg": jpeg(rng) for c in CLASSES if c != "bird"}
    for path in both(tmp_path, files):
        monkeypatch.setenv("CIFAR10_ROOT", path)
        train, test = CIFAR10().load(), CIFAR10(split="test").load()
        assert train.images.shape == (20, 3, 32, 32)
        assert train.labels is not None
        assert train.labels.tolist() == [k // 2 for k in range(20)]
        assert test.labels is not None
        assert (test.labels.tolist(), test.classes) == ([0, 1, 3, 4, 5, 6, 7, 8, 9], 10)
        with Image.open(io.BytesIO(files["train/cat/0001.jpg"])) as image:
            assert torch.equal(train.images[7].permute(1, 2, 0), torch.from_numpy(np.array(image)))


def test_broken_images_of_cifar10_are_refused_or_skipped_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(1)
    files = {f"train/{c}/0000.jpg": jpeg(rng) for c in ("cat", "dog")}
    files |= {"train/cat/0001.jpg": jpeg(rng)[:300], "train/dog/0001.jpg": b"text"}
    for path in both(tmp_path, files):
        with pytest.raises(InputError, match=r"cat/0001\.jpg is broken .*data\.on_error=skip"):
            CIFAR10(path).load()
        found = CIFAR10(path, on_error="skip").load()
        assert found.labels is not None
        assert found.labels.tolist() == [3, 5]
        out = capsys.readouterr().err
        assert "skipped train/cat/0001.jpg" in out
        assert "skipped train/dog/0001.jpg: not an image" in out
        with refused("data.on_error=mend"):
            CIFAR10(path, on_error="mend").load()


@pytest.mark.parametrize(
    ("files", "split", "message"),
    [
        ({}, "all", r"data\.split=all"),
        ({"test/cat/1.png": picture(1, 32)}, "train", r"data\.root=.*no images"),
        ({"train/emu/1.png": picture(1, 32)}, "train", r"data\.root=.*emu"),
        ({"train/1.png": picture(1, 32)}, "train", r"data\.root=.*folders"),
        ({"train/cat/1.png": picture(1, 28)}, "train", r"data\.root=.*not \(3, 32, 32\)"),
        ({"train/cat/1.png": picture(1, 32)[:50]}, "train", r"data\.root=.*broken"),
    ],
)
def test_cifar10_refuses_in_one_line(
    tmp_path: Path, files: dict[str, bytes], split: str, message: str
) -> None:
    with pytest.raises(InputError, match=message) as found:
        CIFAR10(both(tmp_path, files)[1], split).load()
    assert "\n" not in str(found.value)
    with pytest.raises(InputError, match=r"data\.root=nosuch"):
        CIFAR10("nosuch").load()


def test_broken_images_are_refused_or_skipped_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in both(tmp_path, {**FILES, "train/dog/0.png": picture(1)[:40]}):
        with pytest.raises(InputError, match=r"dog/0\.png"):
            image_folder(path, split="train")
        assert len(image_folder(path, split="train", on_error="skip")) == 3
    assert "dog/0.png" in capsys.readouterr().err
    for path in both(tmp_path / "none", {"train/dog/0.png": b"text"}):
        with pytest.raises(InputError, match="no image is left"):
            image_folder(path, split="train", on_error="skip")


def test_what_is_no_image_is_named_without_an_address(tmp_path: Path) -> None:
    """Pillow's own words have the place in memory of what it read, another in each run."""
    for path in both(tmp_path, {**FILES, "train/dog/0.png": b"a text"}):
        with pytest.raises(InputError, match=r"dog/0\.png is broken \(not an image\); mend it"):
            image_folder(path, split="train")


def test_a_damaged_member_of_a_zip_is_named_or_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(both(tmp_path, FILES)[1])
    content = bytearray(path.read_bytes())
    at = content.index(b"IDAT", content.index(b"train/cat/2.png"))
    content[at + 4] ^= 0xFF  # the checksums tell: the zip's before PNG's own
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"train/cat/2\.png is broken \(Bad CRC-32.*skip"):
        image_folder(str(path), "train")
    assert len(image_folder(str(path), "train", on_error="skip")) == 2
    assert "skipped train/cat/2.png" in capsys.readouterr().err


def test_a_picture_that_pillow_thinks_a_bomb_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 4)  # it raises above twice as many
    with pytest.raises(InputError, match=r"cat/1\.png is broken .*bomb"):
        image_folder(both(tmp_path, FILES)[0])


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bits_are_the_picture_that_viewers_show(tmp_path: Path, ending: str) -> None:
    """An 8-bit picture v is 257 v of 16 bits; what lies between goes to the nearest."""
    grey = np.arange(256, dtype=np.uint16).reshape(16, 16)
    deep = 257 * grey + np.where(grey % 2 == 0, 128, -128)
    deep[0, 0], deep[-1, -1] = 0, 65535
    Image.fromarray(deep.astype(np.uint16)).save(tmp_path / f"deep.{ending}")
    loaded = image_folder(str(tmp_path))
    assert torch.equal(loaded.images, torch.from_numpy(grey.astype(np.uint8)).expand(1, 3, 16, 16))
    assert loaded.described.count("1 of 16 bits, divided by 257 to be of 8") == 1


def ppm(rows: np.ndarray) -> bytes:
    """Colours of 16 bits [H, W, 3] as Pillow itself writes none."""
    return b"P6 %d %d 65535\n" % rows.shape[1::-1] + rows.astype(">u2").tobytes()


def test_colours_of_sixteen_bits_are_halved_aloud(tmp_path: Path) -> None:
    (tmp_path / "0.ppm").write_bytes(ppm(np.full((2, 2, 3), 257 * 40)))
    loaded = image_folder(str(tmp_path))
    assert loaded.images.unique().tolist() == [40]
    assert "1 of 16 bits a channel, of which the upper 8 were taken" in loaded.described


def test_sixteen_bits_turned_clear_or_white_at_zero(tmp_path: Path) -> None:
    deep = Image.fromarray(np.array([[0, 65535], [20000, 20000]], np.uint16))
    deep.save(tmp_path / "0.png", transparency=20000)
    deep.save(tmp_path / "1.tif", tiffinfo={262: 0})
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down and mirrored: half a turn
    deep.save(tmp_path / "2.png", exif=exif)
    loaded = image_folder(str(tmp_path)).images[:, 0]
    assert loaded.tolist() == [[[0, 255], [255, 255]], [[255, 0], [177, 177]], [[78, 78], [255, 0]]]


@pytest.mark.parametrize(("mode", "says"), [("I", "integers of 32"), ("F", "floats of 32")])
def test_deeper_modes_are_named(tmp_path: Path, mode: str, says: str) -> None:
    Image.new(mode, (4, 4), 4000).save(tmp_path / "deep.tif")
    with pytest.raises(InputError, match=rf"deep\.tif is broken \(mode {mode}, {says} bits; conv"):
        image_folder(str(tmp_path))


def test_a_class_that_the_held_out_split_lacks_moves_no_label(tmp_path: Path) -> None:
    held_out = {"test/dog/1.png": picture(30), "test/owl/1.png": picture(50)}
    for path in both(tmp_path, {**FILES, "train/owl/1.png": picture(50), **held_out}):
        words = ["task=train", "data=folder", f"data.path={path}", "data.split=train"]
        train, test = both_splits(compose_task(words))
        assert train.class_names == test.class_names == ("cat", "dog", "owl")
        assert train.labels is not None
        assert test.labels is not None
        assert (train.labels.tolist(), test.labels.tolist()) == ([0, 0, 1, 2], [1, 2])
        foreign = compose_task([*words[:-1], "data.split=test"])
        assert both_splits(foreign)[0].classes == 2
    (tmp_path / "folder" / "test" / "emu").mkdir()
    (tmp_path / "folder" / "test" / "emu" / "1.png").write_bytes(picture(1))
    with pytest.raises(InputError, match=r"folders \['emu'\] are none of the classes"):
        both_splits(compose_task([*words[:2], f"data.path={tmp_path / 'folder'}", words[3]]))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 0}, r"data\.size=0: give 1 to"),
        ({"size": 10**6}, r"data\.size=1000000"),
        ({"classes": ["cat", "dog", "cat"]}, r"data\.classes=.*once"),
    ],
)
def test_a_wrong_argument_is_not_blamed_on_an_image(
    tmp_path: Path, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        image_folder(both(tmp_path, FILES)[0], "train", on_error="skip", **wrong)


def test_different_sizes_name_the_remedy(tmp_path: Path) -> None:
    for path in both(tmp_path, {**FILES, "train/dog/9.png": picture(1, size=5)}):
        with pytest.raises(InputError, match=r"data\.size"):
            image_folder(path, split="train")


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.png", b"\0" * (MAX_BYTES + 1))
    with pytest.raises(InputError, match=f"more than {MAX_BYTES}"):
        image_folder(str(tmp_path / "bomb.zip"))
    with pytest.raises(ValueError, match="4 x 4 pixels, more than 15"):
        decode(picture(1), None, "L", most=15)


@pytest.mark.parametrize("name", ["nothing", "text.zip", "text.npz"])
def test_what_is_no_image_set_is_one_line(tmp_path: Path, name: str) -> None:
    if name != "nothing":
        (tmp_path / name).write_text("text")
    with pytest.raises(InputError, match="images="):
        load_images(str(tmp_path / name), key="images")
