"""``sde-diffusion ema``, and EMA widths as an axis of ``compare``, on a run of two snapshots."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sde_diffusion.face.load import load
from sde_diffusion.models.spec import Spec
from sde_diffusion.training.posthoc import Snapshots
from tests.conftest import Run

SPEC = Spec(
    "unet",
    {"channels": 1, "widths": [8], "blocks": 1, "attention": [], "patch": 1, "embedding": 8,
     "classes": 10},
    "karras", {"sigma_data": 1.0}, (1, 8, 8), classes=10, data="digits",
)  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder ``run`` with snapshots after 10 and 20 random steps."""
    torch.manual_seed(0)
    network = SPEC.build().network
    snapshots = Snapshots(network)
    for step in range(1, 21):
        with torch.no_grad():
            for p in network.parameters():
                p += 0.01 * torch.randn_like(p)
        snapshots.update(step)
        if step % 10 == 0:
            snapshots.save(tmp_path / "run", replace(SPEC, step=step))
    return tmp_path / "run"


EMA = ["ema", "checkpoint=run", "data=digits", "width=[0.1,0.07]", "images=16", "hydra.run.dir=out"]


def test_a_row_of_widths(run: Path, quick_cli: Run, tmp_path: Path) -> None:
    done = quick_cli(*EMA, "tracker=csv")
    out = tmp_path / "out"
    assert {"ema-0.07.safetensors", "ema-0.1.safetensors", "widths.csv", "widths.png"} <= {
        path.name for path in out.iterdir()
    }
    rows = json.loads((out / "result.json").read_text())["rows"]
    assert [row["width"] for row in rows] == [0.07, 0.1]
    assert rows[0]["loss"] != rows[1]["loss"]
    assert "<- least" in done.stdout
    # The width that was stored is the stored average itself, in float16.
    made = load(out / "ema-0.1.safetensors").denoiser.state_dict()
    kept = load(run / "snapshots" / "step-00000020-ema-0.1.safetensors").denoiser.state_dict()
    assert all(torch.equal(made[name], kept[name].half().float()) for name in kept)


def test_widths_are_an_axis_of_a_comparison(run: Path, quick_cli: Run, tmp_path: Path) -> None:
    # The extractor's reference must be of 8 x 8 images: the digits themselves.
    words = ["compare", "checkpoint=run", "ema_width=[0.05,0.2]", "solvers=[ddim]", "nfe=[2]",
             "samples=[8]", "metric=[]", "extractor=pixel", "extractor.height=8",
             "extractor.width=8", "reference=digits", "animation=false",
             "hydra.run.dir=cmp"]  # fmt: skip
    quick_cli(*words)
    content = json.loads((tmp_path / "cmp" / "results.json").read_text())
    found = {row["solver"]: row for row in content["rows"]}
    assert set(found) == {"ddim-ema0.05", "ddim-ema0.2"}
    assert found["ddim-ema0.05"]["fd"] != found["ddim-ema0.2"]["fd"]
    assert found["ddim-ema0.2"]["model"] == "run, EMA 0.2"
    cells = sorted((tmp_path / "cmp" / "cells").glob("*.safetensors"))
    before = [path.stat().st_mtime_ns for path in cells]
    quick_cli(*words)  # the averages are made again, the same, and no cell is
    assert [path.stat().st_mtime_ns for path in cells] == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["width=[]"], "width=[]: give at least one"),
        (["width=[0.5]"], "width=[0.5]: give 0.001 <= width <= 0.28"),
        (["step=7"], "step=7: no snapshot of it; choose one of [10, 20]"),
        (["noise_levels=1"], "noise_levels=1: give 2 <= noise_levels"),
        (["checkpoint=nosuch"], "snapshot_every"),
        (["width=[0.1,0.10000001]"], "width=[0.1, 0.10000001]: give widths that differ"),
        (["data=nosuch"], "data=nosuch: no such choice"),
    ],
)
def test_what_cannot_run_is_one_line(
    run: Path, quick_cli: Run, tmp_path: Path, words: list[str], says: str
) -> None:
    done = quick_cli(*EMA, *words, ok=False)
    assert done.returncode != 0
    assert says in done.stderr
    said = [line for line in done.stderr.splitlines() if not line.startswith("data=")]
    assert len([line for line in said if "given too" not in line]) == 1  # a key of EMA, again
    assert not (tmp_path / "out").exists()
