"""What one of several processes does in the tests: three runs, and a death in the first one."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import torch

from sde_diffusion.system.processes import joined, rank
from sde_diffusion.training.levels import LogNormal
from sde_diffusion.training.settings import TrainConfig
from sde_diffusion.training.trainer import Parts, Trainer
from sde_diffusion.training.weighting import UncertaintyWeighting
from tests.training.small import ARGS, CONFIG, SPEC, mean_loss, trainer

DRY = replace(SPEC, network_args={**ARGS, "dropout": 0.0})
STEPS, DEATH = 50, 23
CONFIGS = {
    "ddp": replace(CONFIG, steps=STEPS, batch_size=8, save_every=10, dtype="float64"),
    "fsdp": replace(CONFIG, steps=20, batch_size=8, save_every=10, dtype="float64",
                    parallel="fsdp", accumulate=2, snapshot_every=10),
    "float32": replace(CONFIG, steps=25, batch_size=8, save_every=25),
}  # fmt: skip


def run(folder: Path, config: TrainConfig) -> Trainer:
    return trainer(folder, config, DRY, Parts(LogNormal(-0.4, 1.4), UncertaintyWeighting(8)))


def losses(folder: Path, name: str, dies: bool = False) -> list[float]:
    """Train run ``name`` below ``folder`` to its end, or to the death of rank 1."""
    found = []
    for metrics in run(folder / name, CONFIGS[name]).run(mean_loss):
        found.append(float(metrics["loss"]))
        if dies and rank() == 1 and metrics["step"] == DEATH:
            os.kill(os.getpid(), signal.SIGKILL)
    return found


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    with joined():
        found = {name: losses(folder, name, dies=first) for name in CONFIGS}
    if rank() == 0:
        (folder / "losses.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
