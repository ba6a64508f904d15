"""Tasks of several processes under torchrun: the files of one, whoever made which part."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from sde_diffusion.system.sealed import SealedKind

ROOT = Path(__file__).resolve().parents[2]
PIXEL = ["extractor=pixel", "extractor.height=8", "extractor.width=8"]
DIGITS = ["data=digits", *PIXEL]


def torchrun(folder: Path, n: int, *words: str) -> str:
    """The command in ``n`` processes of one thread; what they printed."""
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(n)]
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, *start, "-m", "sde_diffusion.cli", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths),
             "SDE_DIFFUSION_CACHE": str(folder / f"cache{n}")},
        cwd=folder, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[:3000]
    return done.stdout


def content(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:
        return dict(arrays)


@pytest.mark.slow
def test_one_two_and_three_processes_draw_the_same_file(tmp_path: Path, tiny_model: str) -> None:
    words = ["sample", f"checkpoint={tiny_model}", "n=100", "nfe=4", "batch_size=16"]
    for n in (1, 2, 3):
        printed = torchrun(tmp_path, n, *words, f"hydra.run.dir=p{n}")
        assert printed.count("100 images, 4 evaluations each") == 1
    one, *others = ((tmp_path / f"p{n}" / "samples.npz").read_bytes() for n in (1, 2, 3))
    assert others == [one, one]
    assert {path.name for path in (tmp_path / "p3").iterdir()} == {
        ".hydra", "grid.png", "result.json", "samples.npz",
    }  # fmt: skip


@pytest.mark.slow
def test_two_processes_compare_and_judge_as_one(tmp_path: Path, tiny_model: str) -> None:
    torchrun(tmp_path, 1, "reference", *DIGITS, "held_out=100", "hydra.run.dir=ref1")
    torchrun(tmp_path, 2, "reference", *DIGITS, "held_out=100", "hydra.run.dir=ref2")
    kind = SealedKind("reference", 3, "")
    paths = [next((tmp_path / f"ref{n}").glob("*.safetensors")) for n in (1, 2)]
    one, two = (kind.read(path, "a", lambda *content: content) for path in paths)
    assert one[0] == two[0]
    assert all(bool((one[1][key] == two[1][key]).all()) for key in one[1])
    words = ["compare", f"checkpoint={tiny_model}", "solvers=[ddim,unipc]", "nfe=[4,6]",
             "samples=[20,200]", "batch_size=50", *PIXEL, "metric=[]",
             f"reference={paths[0]}"]  # fmt: skip
    for n in (1, 2):
        printed = torchrun(tmp_path, n, *words, f"hydra.run.dir=c{n}")
        assert printed.count("report: ") == 1
    cells = [
        {p.name: load_file(p) for p in (tmp_path / f"c{n}" / "cells").glob("*.safetensors")}
        for n in (1, 2)
    ]
    assert len(cells[0]) == 4
    assert cells[0].keys() == cells[1].keys()
    for name, tensors in cells[0].items():
        assert all(bool((tensors[key] == cells[1][name][key]).all()) for key in tensors)
    rows = [
        [line.split(",")[:4] for line in (tmp_path / f"c{n}" / "results.csv").read_text().split()]
        for n in (1, 2)
    ]
    assert rows[0] == rows[1]


@pytest.mark.slow
def test_two_processes_edit_as_one(tmp_path: Path, tiny_model: str) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for k in range(3):
        level = np.random.default_rng(k).integers(0, 256, (8, 8)).astype(np.uint8)
        Image.fromarray(level).save(pictures / f"{k}.png")
    words = ["edit", f"checkpoint={tiny_model}", "image=pictures", "operator=downsample",
             "simulate=true", "n=6", "batch_size=4", "nfe=3"]  # fmt: skip
    for n in (1, 2):
        printed = torchrun(tmp_path, n, *words, f"hydra.run.dir=e{n}")
        assert printed.count("3 pictures, 6 samples each") == 1
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / f"e{n}").glob("*.*g")} for n in (1, 2))
    assert len(one) == 3 * 8 + 1
    assert one == two
    for k in range(3):
        a, b = (content(tmp_path / f"e{n}" / f"{k}.npz") for n in (1, 2))
        assert a.keys() == b.keys()
        assert all(np.array_equal(a[key], b[key]) for key in a)


@pytest.mark.slow
def test_two_processes_calibrate_and_measure_as_one(tmp_path: Path, tiny_model: str) -> None:
    """Rules, bits a dimension and distances."""
    model = f"checkpoint={tiny_model}"
    images = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 1)).astype(np.uint8)
    np.savez(tmp_path / "images.npz", images)
    jobs = {
        "calibrate": [model, "nfe=[2,3]", "noises=8", "held_out=4", "tries=1", "budget=1",
                      "nodes=8", "batch_size=4"],
        "likelihood": [model, "data=digits", "n=8", "batch_size=2", "probes=2", "error=0.5"],
        "evaluate": ["images=images.npz", "reference=digits", "metric=[]", *PIXEL],
    }  # fmt: skip
    for task, words in jobs.items():
        for n in (1, 2):
            torchrun(tmp_path, n, task, *words, f"hydra.run.dir={task}{n}")
    rules = [load_file(tmp_path / f"calibrate{n}" / "calibration.safetensors") for n in (1, 2)]
    assert all(bool((rules[0][key] == rules[1][key]).all()) for key in rules[0] | rules[1])
    for task, keys in (("likelihood", ["bits_per_dim"]), ("evaluate", ["rows"])):
        one, two = (json.loads((tmp_path / f"{task}{n}" / "result.json").read_text())
                    for n in (1, 2))  # fmt: skip
        assert [one[key] for key in keys] == [two[key] for key in keys]
