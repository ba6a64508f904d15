"""``sde-diffusion train`` and what comes after it, on the embedded digits."""

from __future__ import annotations

import csv
from pathlib import Path

from tests.conftest import Run

TRAIN = [
    "train", "experiment=digits", "network.args.widths=[8,16]", "network.args.embedding=16",
    "steps=6", "save_every=3", "batch_size=8", "warmup=2", "tracker=csv", "hydra.run.dir=out",
]  # fmt: skip


def test_train_resume_and_sample(quick_cli: Run, tmp_path: Path) -> None:
    quick_cli(*TRAIN)
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


def test_another_network_in_the_same_folder_is_refused(quick_cli: Run) -> None:
    quick_cli(*TRAIN)
    done = quick_cli(*TRAIN, "network.args.widths=[8,8]", ok=False)
    assert done.returncode != 0
    assert "hydra.run.dir" in done.stderr
