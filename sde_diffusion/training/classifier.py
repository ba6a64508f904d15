"""Training a classifier of noisy images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.images.pixels import to_float
from sde_diffusion.networks.classifier import MIN_SIDE, NoisyClassifier
from sde_diffusion.system.bars import hidden
from sde_diffusion.system.ranges import Batch, Seed, Within, check_dataclass
from sde_diffusion.training.batch import PARTS, Batches
from sde_diffusion.training.levels import NoiseLevels

LEVELS = (0.1, 0.5, 1.0, 2.0, 5.0)  # at which it is tried


@dataclass(frozen=True)
class ClassifierTraining:
    """How it is trained: AdamW at a rate that falls along a cosine.

    Attributes:
        steps: of ``batch_size`` images each. lr: the first rate. width: channels at full size.
        seed: of weights, batches and noise.
    """

    steps: Annotated[int, Within("1 <= steps <= 1000000000")] = 2000
    batch_size: Batch = 128
    lr: Annotated[float, Within("0 < lr <= 1")] = 1e-3
    width: Annotated[int, Within("1 <= width <= 4096")] = 32
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_dataclass(self)


def train_classifier(
    data: ImageSet, levels: NoiseLevels, how: ClassifierTraining
) -> NoisyClassifier:
    """A classifier of ``data`` (labels needed) at noise drawn from ``levels``, by cross entropy."""
    channels, height, width = data.images.shape[1:]
    if data.labels is None or data.classes < 2:
        raise InputError(f"data={data.name}: no classes to learn; give images with labels")
    if min(height, width) < MIN_SIDE:
        raise InputError(f"data={data.name}: {height} x {width}; give {MIN_SIDE} pixels or more")
    # Labels are what is to be read, and are never dropped.
    batches = Batches(data, levels, how.batch_size, dict.fromkeys(PARTS, 0.0), how.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(how.seed)
        network = NoisyClassifier(channels, data.classes, how.width).train()
        optimizer = torch.optim.AdamW(network.parameters(), how.lr, weight_decay=0.01)
        for step in tqdm(range(1, how.steps + 1), desc="classifier", unit="step", disable=hidden()):
            for group in optimizer.param_groups:
                group["lr"] = how.lr * 0.5 * (1 + math.cos(math.pi * (step - 1) / how.steps))
            batch = batches.draw(step)
            assert batch.cond is not None
            noisy = batch.x_0 + batch.sigma.reshape(-1, 1, 1, 1) * batch.noise
            loss = F.cross_entropy(network(noisy, batch.sigma), batch.cond.parts["label"].value)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval().requires_grad_(False)


@torch.no_grad()
def accuracies(
    network: NoisyClassifier, data: ImageSet, levels: Sequence[float] = LEVELS
) -> dict[str, float]:
    """Share of ``data`` that is recognised at each noise level, by its name."""
    draw, labels = torch.Generator().manual_seed(0), torch.as_tensor(data.labels)
    shares = {}
    for level in levels:
        right = 0
        for images, truth in zip(data.images.split(500), labels.split(500), strict=True):
            x = to_float(images)
            noisy: Tensor = x + level * torch.randn(x.shape, generator=draw)
            answer = network(noisy, torch.full((len(x),), level)).argmax(1)
            right += int((answer == truth).sum())
        shares[f"{level:g}"] = right / len(labels)
    return shares
