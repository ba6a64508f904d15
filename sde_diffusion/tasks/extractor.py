"""``sde-diffusion extractor``: a feature extractor of a data set, and its reference statistics."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from sde_diffusion.config.choices import choice
from sde_diffusion.config.compose import read
from sde_diffusion.data.splits import both_splits
from sde_diffusion.errors import InputError
from sde_diffusion.metrics.extractors import CnnExtractor
from sde_diffusion.metrics.extractors.cnn import train_cnn
from sde_diffusion.metrics.judge import score_line
from sde_diffusion.metrics.reference import ReferenceSet
from sde_diffusion.models.model import PRECISIONS
from sde_diffusion.system.provenance import machine
from sde_diffusion.system.storage import write_atomically
from sde_diffusion.tasks.reference import floor_rows

FORMAT = 1


@dataclass
class ExtractorTask:
    """Keys of the task."""

    name: str
    epochs: int
    dim: int
    architecture: str
    precision: str
    keep: int
    seed: int


def run(config: DictConfig, folder: Path) -> float:
    """Write NAME.safetensors and NAME-reference.safetensors; returns the test accuracy.

    A NAME.safetensors that is there already is kept.
    """
    task = read(config, ExtractorTask)
    if task.epochs < 1 or task.dim < 1 or task.keep < 2:
        raise InputError(
            f"epochs={task.epochs}, dim={task.dim}, keep={task.keep}: "
            "give numbers >= 1, and keep >= 2"
        )
    if not re.fullmatch(r"[\w.-]+", task.name):  # it names files, which must stay in the folder
        raise InputError(f"name={task.name}: use letters, digits, dots and hyphens")
    precision = PRECISIONS[choice("precision", task.precision, PRECISIONS)]
    data, held_out = (part.as_pictures() for part in both_splits(config))
    began = time.perf_counter()
    path = folder / f"{task.name}.safetensors"
    if not path.is_file():
        train_cnn(data, path, task.epochs, task.dim, task.seed, task.architecture, precision)
    trained = time.perf_counter() - began
    extractor = CnnExtractor(str(path))
    accuracy = extractor.accuracy(held_out)
    reference = ReferenceSet.of(extractor, data, held_out, task.keep)
    reference.save(folder / f"{task.name}-reference.safetensors")
    floor = floor_rows(reference)
    result = {
        "format": FORMAT,
        "accuracy": accuracy,
        "seconds": round(time.perf_counter() - began, 1),
        "seconds_of_training": round(trained, 1),
        "fingerprint": extractor.fingerprint,
        "data": data.name,
        "data_fingerprint": data.fingerprint,
        "floor": floor,
        **machine(),
    }
    write_atomically(folder / "result.json", json.dumps(result, indent=2).encode())
    for row in floor:
        print(f"floor of {score_line(extractor.metric, row)}")
    print(f"accuracy {accuracy:.4f}: {folder}")
    return accuracy
