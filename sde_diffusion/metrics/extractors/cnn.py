"""Features of a classifier that the package trains itself."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.images.pixels import to_float
from sde_diffusion.metrics.extractors.base import Extractor
from sde_diffusion.metrics.extractors.classifiers import CLASSIFIERS, Classifier
from sde_diffusion.system.storage import asset, fingerprint, write_atomically

# Part of the fingerprint: to be raised with any change of what the same weights compute.
FORMAT = 1
KEY = "sde_diffusion_extractor"
TRAIN_BATCH = 128
MIN_SIDE = 8


def _fit(
    network: Classifier, images: Tensor, labels: Tensor, epochs: int, precision: torch.dtype
) -> None:
    """Cross entropy with label smoothing; the images of a batch move by up to a 14th of a side."""
    side, steps = images.shape[2], len(images) // TRAIN_BATCH
    shift = side // 14
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=epochs * steps)
    lowered = precision != torch.float32
    with tqdm(total=epochs * steps, desc="extractor", unit="step") as bar:
        for _ in range(epochs):
            order = torch.randperm(len(images))[: steps * TRAIN_BATCH]
            for rows in order.split(TRAIN_BATCH):
                x = F.pad(to_float(images[rows]), (shift,) * 4, value=-1.0)
                i, j = torch.randint(0, 2 * shift + 1, (2,)).tolist()
                x = x[:, :, i : i + side, j : j + side]
                if network.mirror:
                    x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)
                with torch.autocast("cpu", precision, enabled=lowered):
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
        file: a shipped extractor (``mnist-cnn``, ``cifar-cnn``) or a file written by
            ``sde-diffusion extractor``.
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
            classifier = CLASSIFIERS[facts.get("architecture", "strided")]
            # No memory is asked for yet: a small file must not name a large network.
            with torch.device("meta"):
                self.network = classifier(channels, side, facts["classes"], facts["dim"])
            expected = self.network.state_dict()
            if any(v.dtype != expected[k].dtype for k, v in tensors.items()):
                raise ValueError("weights of another type")
            self.network.load_state_dict(tensors, assign=True)
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


def train_cnn(
    data: ImageSet,
    path: Path,
    epochs: int = 6,
    dim: int = 64,
    seed: int = 0,
    architecture: str = "strided",
    precision: torch.dtype = torch.float32,
) -> None:
    """Train a classifier of ``data`` (labels needed) with small shifts, and write it to ``path``.

    ``architecture`` is strided or residual; ``precision`` that of the convolutions in training.
    """
    channels, side, width = data.images.shape[1:]
    if architecture not in CLASSIFIERS:
        raise InputError(f"architecture={architecture}: choose one of {sorted(CLASSIFIERS)}")
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
    facts = {"format": FORMAT, "shape": list(data.images.shape[1:]), "classes": data.classes,
             "dim": dim, "data": data.name, "data_fingerprint": data.fingerprint}  # fmt: skip
    if architecture != "strided":  # a file without this key is of that kind
        facts["architecture"] = architecture
    tensors = {k: v.contiguous() for k, v in classifier.state_dict().items()}
    write_atomically(path, save(tensors, {KEY: json.dumps(facts)}))
