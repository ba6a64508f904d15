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

# Part of the fingerprint: to be raised with any change of what the same weights compute.
FORMAT = 1
KEY = "sde_diffusion_extractor"
TRAIN_BATCH = 128


def hidden_inputs(side: int) -> int:
    """Inputs of the hidden layer: 64 channels of images of ``side`` pixels, halved twice."""
    return 64 * ((side + 3) // 4) ** 2


class SmallCNN(nn.Module):
    """Two strided convolutions, one hidden layer of ``dim`` features, a linear classifier."""

    def __init__(self, channels: int, side: int, classes: int, dim: int = 64) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(channels, 32, 5, stride=2, padding=2)
        self.norm_1 = nn.BatchNorm2d(32)
        self.conv_2 = nn.Conv2d(32, 64, 3, stride=2, padding=1)
        self.norm_2 = nn.BatchNorm2d(64)
        self.hidden = nn.Linear(hidden_inputs(side), dim)
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


def _fit(network: SmallCNN, images: Tensor, labels: Tensor, epochs: int) -> None:
    """Cross entropy with label smoothing; the images of a batch move by up to a 14th of a side."""
    side, steps = images.shape[2], len(images) // TRAIN_BATCH
    shift = side // 14
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=epochs * steps)
    with tqdm(total=epochs * steps, desc="extractor", unit="step") as bar:
        for _ in range(epochs):
            order = torch.randperm(len(images))[: steps * TRAIN_BATCH]
            for rows in order.split(TRAIN_BATCH):
                x = F.pad(to_float(images[rows]), (shift,) * 4, value=-1.0)
                i, j = torch.randint(0, 2 * shift + 1, (2,)).tolist()
                x = x[:, :, i : i + side, j : j + side]
                loss = F.cross_entropy(network(x), labels[rows], label_smoothing=0.05)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                bar.update()


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
                raise ValueError(f"another version, not format {FORMAT}")
            channels, side, _ = self.shape = tuple(facts["shape"])
            # Before memory is asked for: a small file must not name a large network.
            if tensors["hidden.weight"].shape != (facts["dim"], hidden_inputs(side)):
                raise ValueError("weights of another shape")
            self.network = SmallCNN(channels, side, facts["classes"], facts["dim"])
            self.network.load_state_dict(tensors)
        except (SafetensorError, OSError, KeyError, TypeError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"extractor.file={file}: torn, or not an extractor of this package ({reason}); "
                "give a file written by 'sde-diffusion extractor'"
            ) from error
        self.network.eval()
        self.dim = int(facts["dim"])
        self.name = path.stem
        self.fingerprint = fingerprint(path)

    def extract(self, images: Tensor) -> Tensor:
        if tuple(images.shape[1:]) != self.shape:
            raise InputError(
                f"extractor={self.name}: takes images {self.shape}, not {tuple(images.shape[1:])}"
            )
        return self.network.features(to_float(images))

    def accuracy(self, data: ImageSet) -> float:
        """Share of ``data`` whose class is recognised."""
        with torch.no_grad():
            logits = [self.network(to_float(part)) for part in data.images.split(500)]
        right = torch.eq(torch.cat(logits).argmax(1), torch.as_tensor(data.labels))
        return float(right.double().mean())


def train_cnn(data: ImageSet, path: Path, epochs: int = 6, dim: int = 64, seed: int = 0) -> None:
    """Train a SmallCNN on ``data`` (labels needed) with small shifts, and write it to ``path``."""
    channels, side, width = data.images.shape[1:]
    if data.labels is None or data.classes < 2:
        raise InputError(f"data={data.name}: no classes to learn; give images with labels")
    if side != width or len(data) < TRAIN_BATCH:
        raise InputError(
            f"data={data.name}: {len(data)} images of {side} x {width}; "
            f"give square ones, at least {TRAIN_BATCH}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SmallCNN(channels, side, data.classes, dim)
        _fit(network, data.images, data.labels, epochs)
    facts = {"format": FORMAT, "shape": list(data.images.shape[1:]), "classes": data.classes,
             "dim": dim, "data": data.name, "data_fingerprint": data.fingerprint}  # fmt: skip
    tensors = {k: v.contiguous() for k, v in network.state_dict().items()}
    write_atomically(path, save(tensors, {KEY: json.dumps(facts)}))
