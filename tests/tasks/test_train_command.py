"""``sde-diffusion train`` and what comes after it, on the embedded digits."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from sde_diffusion.models.file import read_checkpoint, save_checkpoint
from tests.conftest import Run

TRAIN = [
    "train", "experiment=digits", "network.widths=[8,16]", "network.embedding=16",
    "steps=6", "save_every=3", "batch_size=8", "warmup=2", "tracker=csv", "hydra.run.dir=out",
]  # fmt: skip


def test_train_resume_and_sample(quick_cli: Run, tmp_path: Path) -> None:
    said = quick_cli(*TRAIN).stdout
    assert f"hydra.run.dir={tmp_path / 'out'} and more steps than 6" in said
    out = tmp_path / "out"
    names = {path.name for path in out.iterdir()}
    assert {"checkpoint.safetensors", "model.safetensors", "metrics.csv", "samples_3.png",
            "samples_6.png"} <= names  # fmt: skip
    with open(out / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["val/loss"]) > 0
    before = (out / "model.safetensors").read_bytes()
    quick_cli(*TRAIN)  # finished: nothing is trained again
    assert (out / "model.safetensors").read_bytes() == before
    quick_cli("sample", "checkpoint=out/model.safetensors", "n=3", "nfe=2", "hydra.run.dir=drawn")
    assert (tmp_path / "drawn" / "samples.npz").is_file()


def test_widths_are_chosen_after_a_run_with_snapshots(quick_cli: Run, tmp_path: Path) -> None:
    quick_cli(*TRAIN, "snapshot_every=2", "ema=warmup", "weighting=uncertainty",
              "schedule=inverse_sqrt", "augment=flip")  # fmt: skip
    done = quick_cli("ema", "checkpoint=out", "data=digits", "width=[0.06,0.08]", "images=16")
    assert "width 0.06" in done.stdout
    assert len(list((tmp_path / "out" / "snapshots").iterdir())) == 3 * 2


def test_another_schedule_in_the_same_folder_is_refused(quick_cli: Run) -> None:
    quick_cli(*TRAIN)
    for words in (["schedule=linear"], ["ema.sigma_rel=0.1"], ["weighting=min_snr"]):
        done = quick_cli(*TRAIN, *words, ok=False)
        assert f"another {words[0].partition('=')[0].partition('.')[0]};" in done.stderr


def test_another_network_in_the_same_folder_is_refused(quick_cli: Run) -> None:
    quick_cli(*TRAIN)
    done = quick_cli(*TRAIN, "network.widths=[8,8]", ok=False)
    assert done.returncode != 0
    assert "hydra.run.dir" in done.stderr


def test_a_model_does_not_tell_where_its_data_were(quick_cli: Run, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 1), dtype=np.uint8)
    np.savez(hidden / "own.npz", images=images)
    words = ["data=npz", f"data.path={hidden / 'own.npz'}", "label_dropout=0", "steps=2"]
    quick_cli(*TRAIN, *words)
    for name in ("checkpoint.safetensors", "model.safetensors"):
        content = (tmp_path / "out" / name).read_bytes()
        assert b"own.npz" in content
        assert b"hidden" not in content


def test_names_of_classes_and_what_was_read_are_kept(quick_cli: Run, tmp_path: Path) -> None:
    """A run that was begun without the names goes on."""
    for k, name in enumerate(["cat", "dog"] * 4):
        path = tmp_path / "pets" / name / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(k).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    own = ["data=folder", "data.path=pets", "data.grey=true", *TRAIN[2:], "network=unet_small",
           "network.blocks=1", "network.attention=[]", "batch_size=2"]  # fmt: skip
    quick_cli("train", *own)
    told = json.loads((tmp_path / "out" / "result.json").read_text())["loaded"]
    assert told["train"] == "7 images, 1 x 8 x 8, 2 classes (cat, dog)"
    assert told["held_out"] == "1 images, 1 x 8 x 8, 2 classes (cat, dog)"
    drawn = quick_cli(
        "sample", "checkpoint=out", "n=2", "nfe=2", "label=[dog,cat]", "hydra.run.dir=s"
    )
    assert json.loads((tmp_path / "s" / "result.json").read_text())["config"]["label"] == [
        "dog",
        "cat",
    ]
    assert (
        "0 .. 1 or a name (cat, dog)"
        in quick_cli("sample", "checkpoint=out", "n=2", "nfe=2", "label=cow", ok=False).stderr
    )
    for path in (tmp_path / "out").glob("*.safetensors"):  # as of before they were kept
        spec, tensors = read_checkpoint(path)
        save_checkpoint(path, replace(spec, class_names=()), tensors)
    quick_cli("train", *own)
    assert drawn.returncode == 0
