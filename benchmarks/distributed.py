"""Do two processes under ``torchrun`` train what one process trains?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import render
import torch

from sde_diffusion.data.digits import Digits
from sde_diffusion.models.file import read_checkpoint
from sde_diffusion.models.spec import Spec
from sde_diffusion.system import processes
from sde_diffusion.system.provenance import machine
from sde_diffusion.training.checkpoints import CHECKPOINT
from sde_diffusion.training.levels import LogNormal
from sde_diffusion.training.settings import TrainConfig
from sde_diffusion.training.trainer import Parts, Trainer
from sde_diffusion.training.weighting import UncertaintyWeighting

STEPS, BATCH = 50, 16
EXACT = TrainConfig(steps=STEPS, batch_size=BATCH, warmup=10, save_every=STEPS, dtype="float64")
RUNS = {
    "DDP, float64": EXACT,
    "DDP, float64, 2 micro-batches": replace(EXACT, accumulate=2),
    "FSDP2, float64": replace(EXACT, parallel="fsdp"),
    "DDP, float32": replace(EXACT, dtype="float32"),
}
KILLED = "DDP, float64, a rank killed at step 33"
RUNS[KILLED] = replace(EXACT, save_every=10)
SPEC = Spec(
    "unet",
    {"channels": 1, "widths": [32, 64], "blocks": 1, "attention": [1], "patch": 1,
     "embedding": 128, "classes": 10},
    "karras", {"sigma_data": 1.0}, (1, 8, 8), classes=10,
)  # fmt: skip


def train(folder: Path, name: str, kill_at: int = 0) -> list[float]:
    """The losses of run ``name`` below ``folder``; rank 1 dies after step ``kill_at``."""
    parts = Parts(LogNormal(), UncertaintyWeighting())
    run = Trainer(SPEC, Digits().load(), parts, RUNS[name], folder / name)
    losses = []
    for metrics in run.run():
        losses.append(float(metrics["loss"]))
        if kill_at == run.step and processes.rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
    return losses


def one_of_two(folder: Path) -> None:
    """What each process does under torchrun."""
    first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    with processes.joined():
        for name in RUNS:
            losses = train(folder, name, 33 * first * (name == KILLED))
            if losses and processes.rank() == 0:  # none of a run that was finished before
                (folder / name / "losses.json").write_text(json.dumps(losses))


def start(folder: Path, name: str) -> Path:
    """The folder of run ``name`` as it is before its first step."""
    run = Trainer(
        SPEC,
        Digits().load(),
        Parts(LogNormal(), UncertaintyWeighting()),
        RUNS[name],
        folder / "0" / name,
    )
    run.save()
    return folder / "0" / name


def largest(one: Path, two: Path, prefix: str) -> float:
    """The largest difference between tensors of two checkpoints."""
    ours, theirs = (read_checkpoint(folder / CHECKPOINT, prefix)[1] for folder in (one, two))
    return max(float((ours[name] - theirs[name]).abs().max()) for name in ours)


def main() -> None:
    """Train everything with one process and with two, compare, write processes.md."""
    torch.set_num_threads(1)
    one, two = (Path(tempfile.mkdtemp()) for _ in range(2))
    words = ["--standalone", "--nproc_per_node", "2", "--max-restarts", "1", __file__, str(two)]
    command = [sys.executable, "-m", "torch.processes.run", *words]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    rows = []
    for name in RUNS:
        alone = train(one, name)
        after = json.loads((two / name / "losses.json").read_text())
        curve = max(abs(a - b) for a, b in zip(alone[-len(after) :], after, strict=True))
        moved = largest(one / name, start(one, name), "train.net.")
        differences = [
            largest(one / name, two / name, prefix)
            for prefix in ("train.net.", "model.", "train.weighting.", "train.adam.")
        ]
        rows.append([name, *(f"{d:.1e}" for d in (*differences, curve, moved))])
    head = ["run", "weights", "EMA", "weighting", "Adam's state", "loss curve", "weights moved"]
    text = [
        "# Two processes are one run",
        f"{STEPS} steps on the 8 x 8 digits with a batch of {BATCH} by one process, and by two "
        "under `torchrun` (gloo) with the same global batch: largest absolute differences of what "
        "their last checkpoints hold. Noise levels, noise, rows and dropped labels of a row are "
        "those that it has in the batch of one process, so what is left is the order of sums. "
        "*Weights moved* is how far training took them, for scale. In the last run rank 1 was "
        "killed (SIGKILL) after step 33; `torchrun --max-restarts 1` started both processes anew "
        "and they went on from the checkpoint of step 30.",
        render.markdown(head, rows),
        "Targets: 1e-8 for parameters in float64, 1e-3 for the loss curve in float32.",
        "## Where the numbers come from",
        "\n".join(
            ["- command: `python benchmarks/processes.py`"]
            + [f"- {key}: {value}" for key, value in machine().items()]
        ),
    ]
    render.written("distributed", "\n\n".join(text) + "\n")
    print("\n\n".join(text))


if __name__ == "__main__":
    main() if len(sys.argv) == 1 else one_of_two(Path(sys.argv[1]))
