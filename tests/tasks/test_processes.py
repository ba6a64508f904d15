"""Tasks of several processes under torchrun: the files of one, whoever made which part."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
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
