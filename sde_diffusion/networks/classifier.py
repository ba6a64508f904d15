"""A classifier of noisy images, log p(c | x, sigma), and the file that it is kept in."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

import torch.nn.functional as F
from torch import Tensor, nn

from sde_diffusion.networks.layers.blocks import Reduce, ResidualBlock
from sde_diffusion.networks.layers.context import Context
from sde_diffusion.networks.layers.embeddings import positional
from sde_diffusion.networks.layers.norms import group_norm
from sde_diffusion.system.sealed import Facts, SealedKind, Tensors, filled
from sde_diffusion.system.storage import asset

CLASSIFIER = SealedKind("noisy classifier", 1, "give a file of 'sde-diffusion classifier'")
MIN_SIDE = 4


@final
class NoisyClassifier(nn.Module):
    """x / sqrt(1 + sigma^2) and log(sigma) / 4 through the first half of a U-Net to class logits.

    Args:
        channels: of the images, which are about -1 .. 1. classes: how many there are.
        width: channels at full size; twice and four times as many at half and a quarter of it.
    """

    def __init__(self, channels: int, classes: int, width: int = 32) -> None:
        super().__init__()
        self.noise = positional()
        self.embedding = nn.Sequential(
            nn.Linear(self.noise.width, 4 * width), nn.SiLU(), nn.Linear(4 * width, 4 * width)
        )
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        blocks: list[nn.Module] = []
        for a, b in ((width, 2 * width), (2 * width, 4 * width)):
            blocks += [Reduce(a), ResidualBlock(a, b, 4 * width, 0.1, None)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = group_norm(4 * width)
        self.head = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """x = x_0 + sigma n [N, C, H, W], sigma [N] -> logits [N, classes]."""
        weights = self.head.weight
        level = sigma.to(weights).reshape(-1, 1, 1, 1)
        context = Context(F.silu(self.embedding(self.noise(sigma.to(weights).log() / 4))))
        y = self.stem(x.to(weights) / (1 + level.square()).sqrt())
        for block in self.blocks:
            y = block(y, context)
        logits: Tensor = self.head(F.silu(self.norm(y)).mean((2, 3)))
        return logits


def save_classifier(path: Path, classifier: NoisyClassifier, facts: dict[str, Any]) -> None:
    """Write a classifier; ``facts`` has its arguments, ``shape``, ``sigma_min``, ``sigma_max``."""
    CLASSIFIER.write(path, classifier.state_dict(), facts)


def read_classifier(name: str, key: str) -> tuple[NoisyClassifier, Facts]:
    """The classifier in a file, ready to be asked; InputError, which names ``key``, for another."""
    return CLASSIFIER.read(asset(name), key, _classifier)


def _classifier(facts: Facts, tensors: Tensors) -> tuple[NoisyClassifier, Facts]:
    sizes = facts["shape"][0], facts["classes"], facts["width"]
    network = filled(lambda: NoisyClassifier(*sizes), tensors)
    network.noise = positional()  # not in the file
    return network.eval().requires_grad_(False), facts
