"""``sde-diffusion extractor``: a feature extractor of a data set, and its reference statistics."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from sde_diffusion.config import build, read
from sde_diffusion.data import ImageSet
from sde_diffusion.errors import InputError
from sde_diffusion.files import write_atomically
from sde_diffusion.metrics.extractors import CnnExtractor
from sde_diffusion.metrics.extractors.cnn import train_cnn
from sde_diffusion.metrics.frechet import frechet_curve
from sde_diffusion.metrics.reference import ReferenceSet
from sde_diffusion.tasks.common import machine

FORMAT = 1


@dataclass
class ExtractorTask:
    """Keys of the task."""

    name: str
    epochs: int
    dim: int
    seed: int


def both_splits(config: DictConfig) -> tuple[ImageSet, ImageSet]:
    """The data set of ``data=`` and its held-out part, ``data.split=test``."""
    data: ImageSet = build(config.data, "data")
    held_out = OmegaConf.merge(config.data, {"split": "test"})
    return data, build(held_out, "data")


def train_extractor(
    train: ImageSet,
    test: ImageSet,
    folder: Path,
    name: str = "mnist-cnn",
    epochs: int = 6,
    dim: int = 64,
    seed: int = 0,
) -> tuple[CnnExtractor, ReferenceSet, float]:
    """Train and write NAME.safetensors and NAME-reference.safetensors.

    Returns the extractor, its reference (statistics of ``train``, held-out features of ``test``)
    and the accuracy on ``test``. A NAME.safetensors that is there already is kept.
    """
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        train_cnn(train, path, epochs, dim, seed)
    extractor = CnnExtractor(str(path))
    reference = ReferenceSet.of(extractor, train, test)
    reference.save(folder / f"{name}-reference.safetensors")
    return extractor, reference, extractor.accuracy(test)


def run(config: DictConfig, folder: Path) -> float:
    """Write NAME.safetensors and NAME-reference.safetensors; returns the test accuracy."""
    task = read(config, ExtractorTask)
    if task.epochs < 1 or task.dim < 1:
        raise InputError(f"epochs={task.epochs}, dim={task.dim}: give numbers >= 1")
    data, held_out = both_splits(config)
    began = time.perf_counter()
    extractor, reference, accuracy = train_extractor(
        data, held_out, folder, task.name, task.epochs, task.dim, task.seed
    )
    counts = sorted({n for n in (500, 1000, 2000, 5000, len(held_out)) if n <= len(held_out)})
    floor = frechet_curve(reference.held_out, reference.reference, counts)
    result = {
        "format": FORMAT,
        "accuracy": accuracy,
        "seconds": round(time.perf_counter() - began, 1),
        "fingerprint": extractor.fingerprint,
        "data": data.name,
        "data_fingerprint": data.fingerprint,
        "floor": {str(n): d.value for n, d in zip(counts, floor, strict=True)},
        **machine(),
    }
    write_atomically(folder / "result.json", json.dumps(result, indent=2).encode())
    print(f"accuracy {accuracy:.4f}, floor {result['floor']}: {folder}")
    return accuracy
