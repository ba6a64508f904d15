"""A small classifier whose penultimate layer is the feature space of small images."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from tqdm import tqdm

from sde_diffusion.data.images import ImageSet, to_float
from sde_diffusion.errors import InputError
from sde_diffusion.files import asset, fingerprint, write_atomically
from sde_diffusion.metrics.extractors.base import Extractor

FORMAT = 1
KEY = "sde_diffusion_extractor"


class SmallCNN(nn.Module):
    """Two strided convolutions, one hidden layer of ``dim`` features, a linear classifier."""

    def __init__(self, channels: int, side: int, classes: int, dim: int = 64) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(channels, 32, 5, stride=2, padding=2)
        self.norm_1 = nn.BatchNorm2d(32)
        self.conv_2 = nn.Conv2d(32, 64, 3, stride=2, padding=1)
        self.norm_2 = nn.BatchNorm2d(64)
        self.hidden = nn.Linear(64 * ((side + 3) // 4) ** 2, dim)
        self.norm_3 = nn.BatchNorm1d(dim)
        self.head = nn.Linear(dim, classes)

    def features(self, x: Tensor) -> Tensor:
        """x in -1 .. 1 [N, C, H, W] -> features [N, dim], before the last non-linearity."""
        x = F.relu(self.norm_1(self.conv_1(x)))
        x = F.relu(self.norm_2(self.conv_2(x)))
        return self.norm_3(self.hidden(x.flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        """Class logits [N, classes]."""
        return self.head(F.dropout(F.relu(self.features(x)), 0.3, self.training))


class CnnExtractor(Extractor):
    """Features of a trained SmallCNN.

    Args:
        file: a shipped extractor (``mnist-cnn``) or a file written by ``sde-diffusion extractor``.
    """

    def __init__(self, file: str = "mnist-cnn") -> None:
        path = asset(file)
        if not path.is_file():
            raise InputError(f"extractor.file={file}: no such file; give mnist-cnn or a path")
        try:
            with safe_open(path, framework="pt") as content:
                facts = json.loads((content.metadata() or {})[KEY])
                tensors = {k: content.get_tensor(k) for k in content.keys()}  # noqa: SIM118
            if facts["format"] != FORMAT:
                raise InputError(f"extractor.file={file}: another version; want format {FORMAT}")
            self.shape = tuple(facts["shape"])
            self.network = SmallCNN(self.shape[0], self.shape[1], facts["classes"], facts["dim"])
            self.network.load_state_dict(tensors)
        except (SafetensorError, KeyError, TypeError, RuntimeError, json.JSONDecodeError) as error:
            raise InputError(
                f"extractor.file={file}: not an extractor of this package; "
                "give a file written by 'sde-diffusion extractor'"
            ) from error
        self.network.eval()
        self.dim = int(facts["dim"])
        self.name = path.stem
        self.fingerprint = fingerprint(path)

    def extract(self, images: Tensor) -> Tensor:
        if tuple(images.shape[1:]) != self.shape:
            raise InputError(
                f"extractor={self.name}: images are {tuple(images.shape[1:])}, it takes {self.shape}"
            )
        return self.network.features(to_float(images))

    def accuracy(self, data: ImageSet) -> float:
        """Share of ``data`` whose class is recognised."""
        with torch.no_grad():
            logits = [self.network(to_float(part)) for part in data.images.split(500)]
        return float((torch.cat(logits).argmax(1) == data.labels).double().mean())


def train_cnn(data: ImageSet, path: Path, epochs: int = 6, dim: int = 64, seed: int = 0) -> None:
    """Train a SmallCNN on ``data`` (labels needed) with small shifts, and write it to ``path``."""
    if data.labels is None:
        raise InputError(f"data={data.name}: has no labels; an extractor is trained on classes")
    torch.manual_seed(seed)
    channels, side = data.images.shape[1], data.images.shape[2]
    network = SmallCNN(channels, side, data.classes, dim)
    steps = epochs * (len(data) // 128)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    with tqdm(total=steps, desc="extractor", unit="step") as bar:
        for _ in range(epochs):
            for rows in torch.randperm(len(data))[: len(data) // 128 * 128].split(128):
                x = F.pad(to_float(data.images[rows]), (2, 2, 2, 2), value=-1.0)
                i, j = torch.randint(0, 5, (2,)).tolist()
                x = x[:, :, i : i + side, j : j + side]
                loss = F.cross_entropy(network(x), data.labels[rows], label_smoothing=0.05)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                bar.update()
    facts = {"format": FORMAT, "shape": list(data.images.shape[1:]), "classes": data.classes,
             "dim": dim, "data": data.name, "data_fingerprint": data.fingerprint}  # fmt: skip
    tensors = {k: v.contiguous() for k, v in network.state_dict().items()}
    write_atomically(path, save(tensors, {KEY: json.dumps(facts)}))
