"""Memory against the number of images, and the files of one and of two processes: scaling.md.

``python benchmarks/scaling.py`` measures memory and compares the files, whatever else runs on the
machine; ``--seconds`` adds wall times of one and two processes of one thread, which want it quiet.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import render
import torch

from sde_diffusion.models.file import save_checkpoint
from sde_diffusion.models.spec import Spec

CLI = ["-m", "sde_diffusion.cli"]
RUNS = 5
TIMED = {
    "sample": ["sample", "n=512", "batch_size=64", "nfe=8"],
    "compare": ["compare", "solvers=[ddim,unipc]", "nfe=[6]", "samples=[250]", "batch_size=50",
                "metric=[]", "animation=false"],
    "calibrate": ["calibrate", "nfe=[4,5]", "noises=32", "held_out=16", "tries=8", "nodes=16",
                  "budget=4", "batch_size=16"],
}  # fmt: skip


def measured(
    folder: Path, words: list[str], processes: int = 1, cache: str = "cache"
) -> tuple[float, float]:
    """Peak memory of the largest process of a command in MiB, and its wall time in seconds."""
    start = [sys.executable, *CLI] if processes == 1 else [
        sys.executable, "-m", "torch.distributed.run", "--standalone",
        "--nproc_per_node", str(processes), *CLI,
    ]  # fmt: skip
    code = (
        "import resource, subprocess, sys; "
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024); "
        "sys.exit(done.returncode)"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline",
                   "SDE_DIFFUSION_CACHE": str(folder / cache)}  # fmt: skip
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *start, *words],
        cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return float(done.stdout.split()[-1]), time.perf_counter() - began


def tiny(path: Path) -> None:
    """A model of 28 x 28 whose network costs next to nothing: memory is what is measured."""
    args = {"channels": 1, "widths": [4], "blocks": 1, "attention": [], "patch": 4,
            "embedding": 8, "classes": 10}  # fmt: skip
    spec = Spec("unet", args, "karras", {}, (1, 28, 28), classes=10)
    torch.manual_seed(0)
    network = spec.build().network
    for p in network.parameters():
        torch.nn.init.normal_(p, std=0.05)
    save_checkpoint(path, spec, {f"model.{k}": v for k, v in network.state_dict().items()})


def memory(folder: Path) -> list[list[object]]:
    """A row a task: MiB at both numbers of images, and how much more the second needs.

    Medians of runs, a small one and a large one in turn; each has folders and a cache of its own.
    """
    tiny(folder / "tiny.safetensors")
    model = ["checkpoint=tiny.safetensors", "batch_size=125"]
    commands = {
        "sample": lambda n: [*model, f"n={n}", "nfe=2"],
        "evaluate": lambda n: [f"images=sample-{n}-0", "metric=[]"],
        "compare": lambda n: [*model, "solvers=[ddim]", "nfe=[2]", "metric=[]",
                              f"samples=[{n}]", "animation=false"],
        "reference": lambda n: ["data=npz", f"data.path=r{n}.npz"],
    }  # fmt: skip
    drawn, rows = np.random.default_rng(0), []
    for name, words in commands.items():
        few, many = (1_000, 50_000) if name == "reference" else (2_000, 20_000)
        if name == "reference":
            for n in (few, many):
                pixels = drawn.integers(0, 256, (n, 28, 28, 1), dtype=np.uint8)
                np.savez(folder / f"r{n}.npz", images=pixels)
        peaks = np.array([
            [measured(folder, [name, *words(n), f"hydra.run.dir={name}-{n}-{run}"],
                      cache=f"cache-{name}-{n}-{run}")[0] for n in (few, many)]
            for run in range(RUNS)
        ])  # fmt: skip
        a, b = np.median(peaks, axis=0).tolist()
        apart = float((np.ptp(peaks, axis=0) / (a, b)).max())
        rows.append([name, few, a, many, b, b / a - 1, apart])
    return rows


def same_files(folder: Path) -> dict[str, bool]:
    """Whether the files of one, two and three processes are equal to the last byte."""
    words = ["sample", "checkpoint=tiny.safetensors", "n=500", "batch_size=50", "nfe=4"]
    digests = set()
    for n in (1, 2, 3):
        measured(folder, [*words, f"hydra.run.dir=p{n}"], n)
        content = (folder / f"p{n}" / "samples.npz").read_bytes()
        digests.add(hashlib.sha256(content).hexdigest())
    return {"equal": len(digests) == 1}


def seconds(folder: Path) -> list[list[object]]:
    """A row a task: wall time of one process, of two, and their ratio; the start is in both."""
    rows: list[list[object]] = []
    for name, words in TIMED.items():
        one, two = (measured(folder, [*words, f"hydra.run.dir=t{name}{n}"], n)[1] for n in (1, 2))
        rows.append([name, one, two, one / two])
    return rows


def main() -> None:
    """Measure, and write the page."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peaks, files = memory(folder), same_files(folder)
        times = seconds(folder) if "--seconds" in sys.argv else []
    head = ["task", "images", "MiB", "images", "MiB", "more", "runs apart"]
    nothing = "Not measured: no quiet machine was at hand when this page was made."
    render.page(
        "scaling",
        {
            "memory": render.table(head, peaks),
            "runs": RUNS,
            "files": "equal" if files["equal"] else "NOT equal",
            "times": render.table(["task", "1 process, s", "2 processes, s", "ratio"], times)
            if times
            else nothing,
        },
    )


if __name__ == "__main__":
    main()
