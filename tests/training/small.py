"""A run of seconds that has all that a run can have, for the tests of this folder."""

from __future__ import annotations

from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.models.file import read_checkpoint
from sde_diffusion.models.spec import Spec
from sde_diffusion.training.checkpoints import CHECKPOINT
from sde_diffusion.training.levels import LogNormal
from sde_diffusion.training.settings import TrainConfig
from sde_diffusion.training.trainer import Parts, Trainer
from sde_diffusion.training.validation import validation_losses
from sde_diffusion.training.weighting import UncertaintyWeighting

ARGS = {
    "channels": 1,
    "widths": [8, 8],
    "blocks": 1,
    "attention": [1],
    "patch": 1,
    "embedding": 16,
    "classes": 2,
    "dropout": 0.1,
}
SPEC = Spec("unet", ARGS, "karras", {"sigma_data": 1.0}, (1, 8, 8), classes=2, data="halves")
CONFIG = TrainConfig(steps=7, batch_size=4, lr=5e-3, warmup=2, save_every=3, seed=5)
PARTS = Parts(LogNormal(-0.4, 1.4))
# Every kind of file and of state.
FULL = replace(CONFIG, steps=20, save_every=2, keep=3, snapshot_every=5)


def halves(n: int = 20) -> ImageSet:
    """Class 0 is bright on the left, class 1 on the right, with noise."""
    g = torch.Generator().manual_seed(3)
    labels = torch.arange(n) % 2
    images = torch.randint(0, 60, (n, 1, 8, 8), generator=g, dtype=torch.uint8)
    images[labels == 0, :, :, :4] += 190
    images[labels == 1, :, :, 4:] += 190
    return ImageSet(images, labels, 2, "halves")


def trainer(
    folder: Path, config: TrainConfig = CONFIG, spec: Spec = SPEC, parts: Parts = PARTS
) -> Trainer:
    return Trainer(spec, halves(), parts, config, folder)


def finish(run: Trainer) -> list[dict[str, float]]:
    return list(run.run())


def full_trainer(folder: Path) -> Trainer:
    return trainer(folder, FULL, parts=Parts(LogNormal(-0.4, 1.4), UncertaintyWeighting(8)))


def mean_loss(run: Trainer) -> float:
    losses = validation_losses(run.ema_denoiser(), halves(), levels=2, images=4)
    return sum(losses.values()) / len(losses)


def train_fully(folder: Path, reports: Connection | None = None) -> None:
    """A full run in ``folder``, which tells its steps."""
    torch.set_num_threads(1)
    for metrics in full_trainer(folder).run(mean_loss):
        if reports is not None:
            reports.send(int(metrics["step"]))


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(folder / CHECKPOINT)[1]


def assert_same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> None:
    assert one.keys() == two.keys()
    different = [name for name in one if not torch.equal(one[name], two[name])]
    assert different == []
