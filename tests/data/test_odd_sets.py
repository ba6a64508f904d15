"""What is left out or cannot be read is said; what looks the same loads the same.

Each class of faults was once there, and the old rule stands beside the test as its twin.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch
from PIL import Image

from sde_diffusion.data import image_folder, load_images
from sde_diffusion.data.files import class_folders
from sde_diffusion.errors import InputError

RNG = np.random.default_rng(0)


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def save(array: np.ndarray, path: Path, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def test_images_of_every_ending_are_read_and_others_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    endings = (".png", ".PNG", ".tif", ".TIFF", ".gif", ".ppm", ".pgm", ".bmp", ".webp", ".JPeG")
    for k, ending in enumerate(endings):
        save(noise(8, 8) if ending == ".pgm" else noise(8, 8, 3), tmp_path / f"{k}{ending}")
    (tmp_path / "notes.txt").write_text("text")
    (tmp_path / ".hidden.png").write_text("text")
    loaded = load_images(str(tmp_path), "images")
    assert len(loaded) == len(endings)
    line = "10 images, 3 x 8 x 8, no labels; 2 other files skipped: 1 .txt, 1 hidden"
    assert loaded.described == line
    assert f"images={tmp_path}: {line}" in capsys.readouterr().err


def test_links_are_followed_and_circles_end(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for k in range(3):
            save(noise(4, 4, 3), tmp_path / "store" / name / f"{k}.png")
    save(noise(4, 4, 3), tmp_path / "linked" / "bird" / "0.png")
    for name in ("cat", "dog"):
        os.symlink(tmp_path / "store" / name, tmp_path / "linked" / name)
    os.symlink(tmp_path / "linked", tmp_path / "linked" / "bird" / "up")
    loaded = image_folder(str(tmp_path / "linked"))
    assert (len(loaded), loaded.class_names) == (7, ("bird", "cat", "dog"))
    assert "1 link to a folder above it" in loaded.described
    seen = [p for p in (tmp_path / "linked").rglob("*.png") if "up" not in p.parts]
    assert len(seen) < 7  # the old walk: it enters no link


@pytest.mark.parametrize("name", ["gone", "gone.png"])
def test_a_link_to_nowhere_is_no_smaller_set(tmp_path: Path, name: str) -> None:
    save(noise(4, 4, 3), tmp_path / "0.png")
    os.symlink(tmp_path / "nowhere", tmp_path / name)
    with pytest.raises(InputError, match=rf"{name} is .*nowhere, which is not there"):
        image_folder(str(tmp_path))


def test_a_pipe_is_never_opened(tmp_path: Path) -> None:
    save(noise(4, 4, 3), tmp_path / "0.png")
    os.mkfifo(tmp_path / "1.png")
    assert "1 no plain file" in image_folder(str(tmp_path)).described


def test_folders_of_results_are_passed_over(tmp_path: Path) -> None:
    for k in range(3):
        save(noise(4, 4, 3), tmp_path / f"{k}.png")
    save(noise(9, 9, 3), tmp_path / "outputs" / "train-1" / "grid.png")
    (tmp_path / "outputs" / "train-1" / ".hydra").mkdir()
    loaded = image_folder(str(tmp_path))
    assert len(loaded) == 3
    assert "1 folder of results of this package" in loaded.described


@pytest.mark.parametrize("written", ["result.json", "results.json", "checkpoint.safetensors"])
def test_pictures_of_a_report_are_no_data(tmp_path: Path, written: str) -> None:
    for name in ("fd_vs_nfe", "samples"):
        save(noise(4, 4, 3), tmp_path / f"{name}.png")
    (tmp_path / ".hydra").mkdir()
    assert len(image_folder(str(tmp_path))) == 2  # a job that has just begun there, say
    (tmp_path / written).touch()
    with pytest.raises(InputError, match="a folder of results of this package"):
        image_folder(str(tmp_path))


def test_the_folder_one_is_in_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cats").mkdir()
    save(noise(4, 4, 3), tmp_path / "cats" / "0.png")
    monkeypatch.chdir(tmp_path / "cats")
    assert image_folder(".").name == "cats"  # it had none


def test_classes_are_the_first_level(tmp_path: Path) -> None:
    names = [f"{c}/{session}/{k}.png" for c in ("cat", "dog") for session in "ab" for k in (0, 1)]
    assert class_folders(names) == ["cat"] * 4 + ["dog"] * 4
    sessions = [PurePosixPath(name).parent.name for name in names]
    assert sessions == ["a", "a", "b", "b"] * 2  # the old rule merged cats and dogs
    for above in ("", "wrapped/", "wrapped/again/"):
        for splits in (("", ""), ("train/", "test/")):
            nested = [f"{above}{s}{name}" for s in splits for name in names]
            assert class_folders(nested) == (["cat"] * 4 + ["dog"] * 4) * 2
    assert class_folders(["train/0.png", "test/0.png"]) == ["", ""]
    assert class_folders(["0.png", "train/0.png"]) == ["", "train"]
    # The same letters in both of their spellings.
    assert len(set(class_folders(["caf\u00e9/0.png", "cafe\u0301/0.png", "tea/0.png"]))) == 2


def test_an_image_beside_the_class_folders_costs_no_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("cat/0.png", "dog/0.png", "preview.png"):
        save(noise(4, 4, 3), tmp_path / name)
    with pytest.raises(InputError, match=r"preview\.png is broken \(beside the class folders\)"):
        image_folder(str(tmp_path))
    kept = image_folder(str(tmp_path), on_error="skip")
    assert kept.labels is not None
    assert (kept.labels.tolist(), kept.class_names) == ([0, 1], ("cat", "dog"))
    assert "skipped preview.png" in capsys.readouterr().err
    judged = load_images(str(tmp_path), "images")  # labels are of no use to a distance
    assert (len(judged), judged.labels) == (3, None)
    assert "1 beside the class folders, so there are no labels" in judged.described


def test_a_photo_is_one_picture_however_it_was_stored(tmp_path: Path) -> None:
    upright = np.zeros((8, 8, 3), np.uint8)
    upright[:4] = 230
    save(upright, tmp_path / "0.png")
    tag = Image.Exif()
    tag[0x0112] = 6
    turned = np.asarray(Image.fromarray(upright).transpose(Image.Transpose.ROTATE_90))
    save(turned, tmp_path / "1.png", exif=tag)
    loaded = image_folder(str(tmp_path))
    assert torch.equal(loaded.images[0], loaded.images[1])
    assert "1 turned as their EXIF says" in loaded.described
    with Image.open(tmp_path / "1.png") as image:  # what the old reader took
        assert not np.array_equal(np.asarray(image), upright)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_pixels_that_nobody_sees_make_no_difference(tmp_path: Path, mode: str) -> None:
    for k, hidden in enumerate((200, 0)):
        pixels = np.full((8, 8, 4), hidden, np.uint8)
        pixels[..., 3] = 0
        pixels[2:6, 2:6] = (90, 90, 90, 255)
        image = Image.fromarray(pixels).convert("RGBA" if mode == "P" else mode)
        if mode == "P":
            image = Image.fromarray(np.where(pixels[..., 3] > 0, 1, 0).astype(np.uint8), "L")
            image = image.convert("P")
            image.putpalette([hidden] * 3 + [90] * 3)
            image.info["transparency"] = 0
        image.save(tmp_path / f"{k}.png")
    loaded = image_folder(str(tmp_path))
    assert torch.equal(loaded.images[0], loaded.images[1])
    assert loaded.images[0, 0, 0, 0] == 255
    assert loaded.images[0, 0, 4, 4] == 90
    assert "2 transparent, put on white" in loaded.described
    with Image.open(tmp_path / "0.png") as one, Image.open(tmp_path / "1.png") as two:
        first, second = (np.asarray(image.convert("RGB")) for image in (one, two))
        assert not np.array_equal(first, second)  # the old reader's


def test_only_the_first_frame_and_that_is_said(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (4, 4), (9, 9, 9)), Image.new("RGB", (4, 4), (200, 0, 0))
    for ending in ("gif", "tif", "webp", "png"):
        lossless = {"lossless": True} if ending == "webp" else {}
        path = tmp_path / f"0.{ending}"
        first.save(path, save_all=True, append_images=[second], **lossless)
    loaded = image_folder(str(tmp_path))
    assert (loaded.images == 9).all()
    assert "4 of several frames, of which the first was taken" in loaded.described


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_every_mode_is_a_picture(tmp_path: Path, mode: str) -> None:
    grey = Image.new("RGB", (4, 4), (255, 255, 255))
    image = Image.new("I;16", (4, 4), 65535) if mode == "I;16" else None
    image = image or grey.convert(mode)
    ending = {"CMYK": "jpg", "YCbCr": "jpg"}.get(mode, "png")
    image.save(tmp_path / f"a.{ending}")
    assert (image_folder(str(tmp_path)).images >= 254).all()


@pytest.mark.parametrize(
    ("fit", "height", "width"), [("squash", 20, 10), ("crop", 20, 20), ("pad", 10, 10)]
)
def test_what_becomes_of_proportions(tmp_path: Path, fit: str, height: int, width: int) -> None:
    wide = np.zeros((64, 128, 3), np.uint8)  # a disc of radius 20 in the middle
    i, j = np.mgrid[:64, :128]
    wide[(i - 32) ** 2 + (j - 64) ** 2 < 400] = 255
    save(wide, tmp_path / "a.png")
    loaded = image_folder(str(tmp_path), size=32, fit=fit)
    disc = loaded.images[0, 0] > 127
    sides = int(disc.any(1).sum()), int(disc.any(0).sum())
    assert sides == pytest.approx((height, width), abs=1)
    assert ("squashed" in loaded.described) == (fit == "squash")
    with pytest.raises(InputError, match=r"data\.fit=.*(choose|data\.size)"):
        image_folder(str(tmp_path), fit="crop" if fit == "crop" else "stretch")


def test_a_set_is_grey_by_how_it_is_stored_not_by_its_pixels(tmp_path: Path) -> None:
    for k in range(3):
        save(np.zeros((4, 4, 3), np.uint8), tmp_path / "black" / f"{k}.png")
        save(noise(4, 4), tmp_path / "grey" / f"{k}.png")
    black = load_images(str(tmp_path / "black"), "images")
    grey = load_images(str(tmp_path / "grey"), "images")
    assert (black.images.shape[1], grey.images.shape[1]) == (3, 1)
    assert bool((black.images == black.images[:, :1]).all())  # the old rule made it another shape
    assert black.with_channels(1, "images", "it").images.shape == (3, 1, 4, 4)
    assert torch.equal(grey.with_channels(3, "images", "it").images[:, 2], grey.images[:, 0])
    save(noise(4, 4, 3), tmp_path / "colour" / "0.png")
    colour = load_images(str(tmp_path / "colour"), "images")
    with pytest.raises(InputError, match="3 channels, and it has 1; give grey images"):
        colour.with_channels(1, "images", "it")


def test_an_empty_path_is_not_the_folder_one_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(noise(4, 4, 3), tmp_path / "0.png")
    monkeypatch.chdir(tmp_path)
    assert len(load_images(".", "images")) == 1
    for read in (lambda: load_images("", "images"), lambda: image_folder("", key="images")):
        with pytest.raises(InputError, match="images=: an empty path"):
            read()


def test_a_folder_of_samples_is_its_archive_never_its_contact_sheet(tmp_path: Path) -> None:
    save(noise(40, 40, 3), tmp_path / "grid.png")
    (tmp_path / ".hydra").mkdir()
    with pytest.raises(InputError, match=r"a folder of results without samples\.npz"):
        load_images(str(tmp_path), "images")
    np.savez(tmp_path / "samples.npz", images=noise(5, 4, 4, 3))
    assert load_images(str(tmp_path), "images").images.shape == (5, 3, 4, 4)


def test_remedies_are_those_of_the_task(tmp_path: Path) -> None:
    save(noise(4, 4, 3), tmp_path / "0.png")
    save(noise(5, 5, 3), tmp_path / "1.png")
    with pytest.raises(InputError, match=r"0\.png 4 x 4 and 1\.png 5 x 5; bring them to one size"):
        load_images(str(tmp_path), "images")
    with pytest.raises(InputError, match=r"set data\.size=32"):
        image_folder(str(tmp_path))
    (tmp_path / "0.png").write_text("text")
    with pytest.raises(InputError, match=r"0\.png is broken \(not an image\); mend or remove it$"):
        load_images(str(tmp_path), "images")


def test_names_cannot_write_to_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a\x1b[31mred.png", "b\nline.png", "c\u202egnp.png"):
        (tmp_path / name).write_text("text")
        with pytest.raises(InputError, match="is broken") as refused:
            image_folder(str(tmp_path))
        assert str(refused.value).isprintable()
        with pytest.raises(InputError, match="no image is left"):
            image_folder(str(tmp_path), on_error="skip")
        assert not set("\x1b\u202e") & set(capsys.readouterr().err)
        (tmp_path / name).unlink()


def test_splits_that_are_read_together_are_said(tmp_path: Path) -> None:
    for k, name in enumerate(("train/a", "train/b", "test/a", "test/b")):
        save(noise(4, 4, 3), tmp_path / "set" / name / f"{k}.png")
    together = image_folder(str(tmp_path / "set"))
    assert together.described.endswith("2 classes (a, b); of the splits test, train together")
    assert "together" not in image_folder(str(tmp_path / "set"), split="train").described
    assert "together" in load_images(str(tmp_path), "images").described
