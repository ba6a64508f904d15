"""Memory against the number of images, and the files of one and of two processes: scaling.md.

``python benchmarks/scaling.py`` measures memory and compares the files, whatever else runs on the
machine; ``--seconds`` measures instead wall times of one and two processes of one thread, which
want it quiet. Either keeps what the other has found.
"""

from __future__ import annotations

import hashlib
import json
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
RUNS, MANY = 5, 1_000_000
FD = ("metric=[]",)
PLAIN = (*FD, "animation=false")
TIMED = {  # a row: the words of a job, and those that leave next to nothing but its start
    "sample": (["sample", "n=8192", "batch_size=64", "nfe=8"], ["sample", "n=2", "nfe=1"]),
    "compare": (["compare", "solvers=[ddim,unipc]", "nfe=[8]", "samples=[4000]", *PLAIN],
                ["compare", "solvers=[ddim]", "nfe=[1]", "samples=[2]", *PLAIN]),
    "calibrate": (["calibrate", "nfe=[6,8]", "noises=256", "held_out=64", "tries=20", "nodes=32",
                   "budget=8", "batch_size=32"],
                  ["calibrate", "nfe=[2]", "noises=8", "held_out=8", "tries=1", "nodes=4",
                   "budget=0"]),
    "evaluate, digits": (["evaluate", "images=many.npz", *FD], ["evaluate", "images=few.npz", *FD]),
    "evaluate, photographs": (["evaluate", "images=photographs.npz", "extractor=cifar-cnn", *FD],
                              ["evaluate", "images=photograph.npz", "extractor=cifar-cnn", *FD]),
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


def memory(folder: Path) -> render.Table:
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
    head = ["task", "images", "MiB", "images", "MiB", "more", "runs apart"]
    return render.table(head, rows)


def same_files(folder: Path) -> str:
    """Whether the files of one, two and three processes are equal to the last byte."""
    words = ["sample", "checkpoint=tiny.safetensors", "n=500", "batch_size=50", "nfe=4"]
    digests = set()
    for n in (1, 2, 3):
        measured(folder, [*words, f"hydra.run.dir=p{n}"], n)
        content = (folder / f"p{n}" / "samples.npz").read_bytes()
        digests.add(hashlib.sha256(content).hexdigest())
    return "equal" if len(digests) == 1 else "NOT equal"


def seconds(folder: Path) -> dict[str, object]:
    """Wall times of one process and of two: of a long job, and of one that is nearly all start."""
    drawn = np.random.default_rng(0)
    digit, photograph = (28, 28, 1), (32, 32, 3)
    for name, n, shape in (
        ("many", MANY, digit),
        ("few", 64, digit),
        ("photographs", MANY // 5, photograph),
        ("photograph", 64, photograph),
    ):
        np.savez(folder / f"{name}.npz", images=drawn.integers(0, 256, (n, *shape), np.uint8))
    rows: list[list[object]] = []
    for i, (task, jobs) in enumerate(TIMED.items()):
        (one, two), (start, starts) = (
            [measured(folder, [*words, f"hydra.run.dir={i}-{size}{n}"], n, f"{size}{n}")[1]
             for n in (1, 2)]
            for size, words in zip(("long", "short"), jobs, strict=True)
        )  # fmt: skip
        rows.append([task, one, two, one / two, start, starts, (one - start) / (two - starts)])
    head = ["task", "1 process, s", "2 processes, s", "ratio", "start of 1, s", "start of 2, s",
            "ratio without the start"]  # fmt: skip
    facts = render.made()
    return {
        "times": render.table(head, rows),
        "timed": f"`{facts['command']}`, {facts['date']}, revision {facts['revision']}",
    }


def main() -> None:
    """Measure, and write the page."""
    path = render.RESULTS / "scaling.json"
    known = json.loads(path.read_text()) if path.is_file() else {}
    with tempfile.TemporaryDirectory() as name:
        if "--seconds" in sys.argv:
            found, facts = seconds(Path(name)), known["made"]
        else:
            tables = {"memory": memory(Path(name)), "files": same_files(Path(name))}
            found, facts = {"runs": RUNS, **tables}, None
    render.page("scaling", {**known.get("values", {}), **found}, facts=facts)


if __name__ == "__main__":
    main()
