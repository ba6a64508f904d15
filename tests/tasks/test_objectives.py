"""Weightings, levels and augmentations as the command line joins them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from sde_diffusion.models.file import read_checkpoint
from tests.conftest import Run

TRAIN = [
    "train", "experiment=digits", "network.widths=[8,16]", "network.embedding=16",
    "steps=4", "save_every=4", "batch_size=8", "warmup=2", "hydra.run.dir=out",
]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "changed"),
    [
        (["levels=importance", "weighting=likelihood", "augment=dequantise"], "augment"),
        (["levels=sde", "levels.t_min=0.002", "weighting=likelihood"], "weighting"),
        (["parameterization=v", "weighting=min_snr", "augment=flip"], "augment"),
        (["weighting=uncertainty", "augment=geometric"], "augment, network_args"),
        (["augment=[geometric,flip]", "augment.flip.p=1.0"], "augment"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_they_train_and_a_run_remembers_them(
    quick_cli: Run, tmp_path: Path, words: list[str], changed: str
) -> None:
    """With more steps the same command goes on; with the last word left out it is another run."""
    quick_cli(*TRAIN, *words)
    done = quick_cli(*TRAIN, *words, "steps=6")
    assert math.isfinite(float(done.stdout.split("validation loss ")[1].split(":")[0]))
    spec, _ = read_checkpoint(tmp_path / "out" / "model.safetensors")
    assert spec.step == 6
    assert spec.network_args.get("augment", 0) == (7 if "geometric" in " ".join(words) else 0)
    done = quick_cli(*TRAIN, *words[:-1], "steps=6", ok=False)
    assert f"holds a run with another {changed}" in done.stderr


def test_likelihood_refuses_levels_without_ends_in_one_line(quick_cli: Run) -> None:
    done = quick_cli(*TRAIN, "weighting=likelihood", ok=False)
    assert "weighting=likelihood: levels LogNormal" in done.stderr
    assert "choose levels=importance" in done.stderr
    done = quick_cli(*TRAIN, "levels=sde", "weighting=likelihood", ok=False)
    assert "levels run from 0.001 to 80, outside sigma_min=0.002" in done.stderr


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("sigma_min=low", "sigma_min=low: give a number"),
        ("network.blocks=many", "network.blocks=many: give a whole number"),
        ("network.classes=3", "network.classes: unknown key"),
        ("parameterization.sigma_data=0", "parameterization.sigma_data=0"),
        ("parameterization=kerras", "no such choice; did you mean karras?"),
    ],
)
def test_what_builds_no_model_is_one_line(quick_cli: Run, word: str, says: str) -> None:
    done = quick_cli(*TRAIN, word, ok=False)
    assert says in done.stderr
    lines = done.stderr.strip().splitlines()
    # What was loaded is said before.
    assert len([line for line in lines if not line.startswith("data=")]) == 1
