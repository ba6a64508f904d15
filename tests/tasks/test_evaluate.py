"""``evaluate``: the distance of any images to any reference."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.metrics.extractors.pixel import PixelExtractor
from sde_diffusion.tasks.evaluate import features_of
from tests.conftest import Run


def images(path: Path, level: float, n: int = 40, side: int = 28) -> str:
    rng = np.random.default_rng(0)
    pixels = np.clip(rng.normal(level, 30, (n, side, side, 1)), 0, 255).astype(np.uint8)
    np.savez(path, images=pixels)
    return str(path)


def evaluate(cli: Run, folder: Path, *words: str) -> dict[str, Any]:
    cli("evaluate", "hydra.run.dir=out", *words)
    return json.loads((folder / "out" / "result.json").read_text())


def test_distance_to_itself_is_nought_and_grows_with_the_shift(
    quick_cli: Run, tmp_path: Path
) -> None:
    real = images(tmp_path / "real.npz", 100)
    pixels = ["extractor=pixel", f"reference={real}"]
    same = evaluate(quick_cli, tmp_path, f"images={real}", *pixels)
    assert abs(same["rows"][0]["fd"]) < 1e-9
    assert same["metric"] == "FD[pixel4]"
    near = evaluate(quick_cli, tmp_path, f"images={images(tmp_path / 'a.npz', 110)}", *pixels)
    far = evaluate(quick_cli, tmp_path, f"images={images(tmp_path / 'b.npz', 150)}", *pixels)
    assert far["rows"][0]["fd"] == pytest.approx(49 * (50 / 255) ** 2, rel=0.01)  # 49 pixels by 50
    assert near["rows"][0]["fd"] < far["rows"][0]["fd"]


@pytest.mark.parametrize("samples", ["null", "[10]"])
def test_a_set_judged_by_itself_is_told_of(quick_cli: Run, tmp_path: Path, samples: str) -> None:
    images(tmp_path / "a.npz", 100)
    words = ("evaluate", "images=a.npz", "extractor=pixel", "metric=[]", f"samples={samples}")
    told = "images=a.npz: these are the images of the reference"
    assert quick_cli(*words, "reference=a.npz").stderr.count(told) == 1
    np.savez(tmp_path / "turned.npz", images=np.load(tmp_path / "a.npz")["images"][::-1])
    assert (told in quick_cli(*words, "reference=turned.npz").stderr) == (samples == "null")
    images(tmp_path / "b.npz", 101)
    assert told not in quick_cli(*words, "reference=b.npz").stderr


def test_features_of_many_images_lie_in_few_files(tmp_path: Path) -> None:
    """A file costs the system as much as a thousand images."""
    pixels = torch.randint(0, 256, (600, 1, 28, 28), dtype=torch.uint8)
    extractor = PixelExtractor()
    extractor.batch_size = 1
    job: Any = SimpleNamespace(extractor=extractor, output=SimpleNamespace(folder=tmp_path))
    found = features_of(job, ImageSet(pixels, None, 0, "x"))
    assert torch.equal(found, extractor(pixels))
    assert len(list((tmp_path / "parts").iterdir())) == 200


def test_shipped_reference_and_prefixes(quick_cli: Run, tmp_path: Path) -> None:
    found = evaluate(
        quick_cli, tmp_path, f"images={images(tmp_path / 'a.npz', 100)}", "samples=[10,40]"
    )
    assert found["metric"] == "FD[mnist-cnn]"
    assert [row["samples"] for row in found["rows"]] == [10, 40]
    assert found["reference_n"] == 60000


def test_all_metrics_and_the_floor(quick_cli: Run, tmp_path: Path) -> None:
    source = images(tmp_path / "a.npz", 100)
    found = evaluate(quick_cli, tmp_path, f"images={source}", "samples=[10,40]")
    few, many = found["rows"]
    assert few["kid"] is None  # ten images make no ten blocks of two
    assert many["kid"] > 0
    assert 0 <= many["precision"] <= 1
    assert many["floor"] == found["floors"][1]["fd"] > 0
    assert many["fd"] > many["floor"]  # noise is no digit


def test_copies_of_training_images_are_seen(quick_cli: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    noise = {name: rng.integers(0, 256, (n, 28, 28, 1), dtype=np.uint8)
             for name, n in (("real", 120), ("train", 60), ("new", 30))}  # fmt: skip
    for name, pixels in [*noise.items(), ("copies", noise["train"][:30] // 2 * 2)]:
        np.savez(tmp_path / f"{name}.npz", images=pixels)
    quick_cli("reference", "hydra.run.dir=ref", "data=npz", "data.path=real.npz", "held_out=60",
              "extractor=pixel")  # fmt: skip
    words = ["extractor=pixel", "reference=ref/pixel4-reference.safetensors", "train=train.npz"]
    copied = evaluate(quick_cli, tmp_path, "images=copies.npz", *words)["memorisation"]
    fresh = evaluate(quick_cli, tmp_path, "images=new.npz", *words)["memorisation"]
    assert copied["ratio"] < 0.1
    assert copied["fraction"] == 1
    assert 0.8 < fresh["ratio"] < 1.2
    assert fresh["fraction"] < 0.3
    assert (tmp_path / "out" / "nearest.png").stat().st_size > 100


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("", "images: required"),
        ("images=nosuch.zip", "images=nosuch.zip"),
        ("images=small.npz", "(1, 28, 28)"),
        ("images=a.npz samples=[99]", "samples=[99]"),
        ("images=a.npz reference=nosuch.zip", "reference=nosuch.zip"),
        ("images=a.npz reference=small.npz", "(1, 8, 8)"),
        ("images=a.npz train=small.npz", "train=small.npz"),
        ("images=a.npz reference=a.npz extractor=pixel train=a.npz", "no held-out images"),
    ],
)
def test_wrong_input_is_one_line(quick_cli: Run, tmp_path: Path, words: str, named: str) -> None:
    images(tmp_path / "a.npz", 100)
    images(tmp_path / "small.npz", 100, side=8)
    done = quick_cli("evaluate", "hydra.run.dir=out", *words.split(), ok=False)
    assert done.returncode != 0
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out" / "result.json").exists()


def remedied(cli: Run, folder: Path, refused: list[str], real: str) -> dict[str, Any]:
    """The evaluation, once the command that its refusal names has made a reference of ``real``."""
    line = cli("evaluate", *refused, ok=False).stderr.strip().splitlines()[-1]
    named = re.search(r"'(sde-diffusion reference [^']*)'(.*)", line)
    assert named, line
    words = named[1].replace("FOLDER", real).split()
    made = cli(*words[1:], "hydra.run.dir=made").stdout.split("reference=")[-1].strip()
    here = [word for word in named[2].split() if word.startswith("extractor")]
    other = ("reference=", "extractor=") if here else ("reference=",)
    kept = [word for word in refused if not word.startswith(other)]
    return evaluate(cli, folder, *kept, *here, f"reference={made}")


def pictures(folder: Path, *shape: int) -> str:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for k in range(12):
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"{k}.png")
    return str(folder)


@pytest.mark.parametrize(
    "words", [[], ["extractor=random-conv", "reference=other"], ["extractor=pixel"]]
)
@pytest.mark.parametrize("shape", [(16, 16, 3), (16, 16), (12, 20, 3), (9, 9)])
def test_the_command_that_makes_a_reference_works_as_it_stands(
    quick_cli: Run, tmp_path: Path, shape: tuple[int, ...], words: list[str]
) -> None:
    """Without an extractor it made one of mnist-cnn, which takes none but MNIST's."""
    pictures(tmp_path / "mine", *shape)
    if words:
        pictures(tmp_path / "other", 24, 24, 3)
        words = [*words, "reference=other"] if len(words) == 1 else words
    real = pictures(tmp_path / "real", *shape)
    found = remedied(quick_cli, tmp_path, ["images=mine", "metric=[]", *words], real)
    assert ("random-conv" if min(shape[:2]) >= 16 else "pixel") in found["metric"]
    assert found["reference_n"] == 12


def test_a_reference_for_training_images_holds_some_out(quick_cli: Run, tmp_path: Path) -> None:
    pictures(tmp_path / "mine", 28, 28)
    rng = np.random.default_rng(0)
    many = tmp_path / "many"
    many.mkdir()
    for k in range(110):
        Image.fromarray(rng.integers(0, 256, (28, 28), dtype=np.uint8)).save(many / f"{k}.png")
    words = ["images=mine", "train=mine", "reference=mine", "metric=[]"]
    assert "memorisation" in remedied(quick_cli, tmp_path, words, str(many))


def test_one_image_is_said_to_be_one(quick_cli: Run, tmp_path: Path) -> None:
    images(tmp_path / "a.npz", 100, n=1)
    assert (
        "images=a.npz: 1 image; give at least 2"
        in quick_cli("evaluate", "images=a.npz", ok=False).stderr
    )
