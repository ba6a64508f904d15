"""Features of a classifier that the package trains itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.denoisers.precision import autocast
from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.images.pixels import to_float
from sde_diffusion.metrics.extractors.base import Extractor
from sde_diffusion.metrics.extractors.classifiers import CLASSIFIERS, Classifier
from sde_diffusion.metrics.extractors.random_conv import MIN_SIDE as LARGE
from sde_diffusion.system import strict_json
from sde_diffusion.system.bars import hidden
from sde_diffusion.system.sealed import Facts, SealedKind, Tensors, filled
from sde_diffusion.system.spelling import none_of
from sde_diffusion.system.storage import asset, fingerprint

TRAIN_BATCH = 128
MIN_SIDE = 8


def _first_extractor(metadata: Mapping[str, str], tensors: Tensors) -> Facts:
    facts: Facts = strict_json.loads(metadata["sde_diffusion_extractor"])
    if facts["format"] != 1:
        raise ValueError(f"format {facts['format']}")
    return {"architecture": "strided", **facts}


# Its number is part of the fingerprint, which is the file's: to be raised with any change of what
# the same weights compute.
EXTRACTOR = SealedKind(
    "extractor",
    2,
    "give mnist-cnn, cifar-cnn, shapes-cnn or a file of 'sde-diffusion extractor'",
    _first_extractor,
)
# What makes three channels of grey pictures one.
GREY = "give them in grey, by data.grey=true of data=folder"


def _fit(network: Classifier, images: Tensor, labels: Tensor, epochs: int, precision: str) -> None:
    """Cross entropy with label smoothing; the images of a batch move by up to a 14th of a side."""
    side, steps = images.shape[2], len(images) // TRAIN_BATCH
    shift = side // 14
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=epochs * steps)
    with tqdm(total=epochs * steps, desc="extractor", unit="step", disable=hidden()) as bar:
        for _ in range(epochs):
            order = torch.randperm(len(images))[: steps * TRAIN_BATCH]
            for rows in order.split(TRAIN_BATCH):
                x = F.pad(to_float(images[rows]), (shift,) * 4, value=-1.0)
                i, j = torch.randint(0, 2 * shift + 1, (2,)).tolist()
                x = x[:, :, i : i + side, j : j + side]
                if network.mirror:
                    x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)
                with autocast(images.device, precision):
                    logits = network(x)
                loss = F.cross_entropy(logits.float(), labels[rows], label_smoothing=0.05)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                bar.update()


class CnnExtractor(Extractor):
    """Features of a classifier trained here.

    Args:
        file: a shipped extractor (``mnist-cnn``, ``cifar-cnn``, ``shapes-cnn``), or a file of
            ``sde-diffusion extractor``.
    """

    def __init__(self, file: str = "mnist-cnn") -> None:
        path = asset(file)
        self.network, self.shape, self.dim = EXTRACTOR.read(path, "extractor.file", _network)
        self.name = path.stem
        self.fingerprint = fingerprint(path)

    def extract(self, images: Tensor) -> Tensor:
        if tuple(images.shape[1:]) != self.shape:
            suits = "random-conv" if min(images.shape[2:]) >= LARGE else "pixel"
            raise InputError(
                f"extractor={self.name}: takes images {self.shape}, not {tuple(images.shape[1:])}; "
                + (f"{GREY}, or " if self._wants_grey(images) else "")
                + f"choose one for any size, extractor={suits}, say"
            )
        return self.network.features(to_float(images))

    def _wants_grey(self, images: Tensor) -> bool:
        """Whether the images would do if they were grey."""
        return self.shape == (1, *images.shape[2:])

    def accuracy(self, data: ImageSet) -> float:
        """Share of ``data`` whose class is recognised."""
        with torch.no_grad():
            logits = [self.network(to_float(part)) for part in data.images.split(500)]
        right = torch.eq(torch.cat(logits).argmax(1), torch.as_tensor(data.labels))
        return float(right.double().mean())


def train_cnn(
    data: ImageSet,
    path: Path,
    epochs: int = 6,
    dim: int = 64,
    seed: int = 0,
    architecture: str = "strided",
    precision: str = "float32",
) -> None:
    """Train a classifier of ``data`` (labels needed) with small shifts, and write it to ``path``.

    Args:
        data: images [N, C, H, W] with labels. path: a new file .safetensors.
        epochs: passes over them. dim: features, the width of the last layer but one.
        seed: of weights, order and shifts. architecture: strided or residual.
        precision: of the convolutions in training, float32 or bfloat16.
    """
    channels, side, width = data.images.shape[1:]
    if architecture not in CLASSIFIERS:
        raise none_of("architecture", architecture, sorted(CLASSIFIERS))
    if data.labels is None or data.classes < 2:
        raise InputError(f"data={data.name}: no classes to learn; give images with labels")
    if side != width or side < MIN_SIDE or len(data) < TRAIN_BATCH:
        raise InputError(
            f"data={data.name}: {len(data)} images of {side} x {width}; "
            f"give square ones of {MIN_SIDE} pixels or more, at least {TRAIN_BATCH}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = CLASSIFIERS[architecture](channels, side, data.classes, dim)
        _fit(classifier, data.images, data.labels, epochs, precision)
    facts = {
        "shape": list(data.images.shape[1:]),
        "classes": data.classes,
        "dim": dim,
        "data": data.name,
        "data_fingerprint": data.fingerprint,
        "architecture": architecture,
    }
    EXTRACTOR.write(path, classifier.state_dict(), facts)


def _network(facts: Facts, tensors: Tensors) -> tuple[Classifier, tuple[int, int, int], int]:
    """The classifier in a file's content, the shape of its images and its number of features."""
    channels, side, width = facts["shape"]
    make = CLASSIFIERS[facts["architecture"]]
    network = filled(lambda: make(channels, side, facts["classes"], facts["dim"]), tensors)
    return network.eval(), (channels, side, width), int(facts["dim"])
