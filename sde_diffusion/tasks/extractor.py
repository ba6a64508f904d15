"""``sde-diffusion extractor``: a feature extractor of a data set, and its reference statistics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from omegaconf import DictConfig

from sde_diffusion.data.splits import both_splits
from sde_diffusion.errors import InputError
from sde_diffusion.metrics.extractors import CnnExtractor
from sde_diffusion.metrics.extractors.cnn import EXTRACTOR, train_cnn
from sde_diffusion.metrics.judge import floor_rows, score_line
from sde_diffusion.metrics.reference import ReferenceSet
from sde_diffusion.system.names import check_file_name
from sde_diffusion.system.ranges import Seed, Within
from sde_diffusion.tasks.run import Run


@dataclass
class ExtractorTask:
    """Keys of the task."""

    name: str
    epochs: Annotated[int, Within("1 <= epochs <= 100000")]
    dim: Annotated[int, Within("1 <= dim <= 65536")]
    architecture: str
    precision: str
    keep: Annotated[int, Within("2 <= keep")]
    seed: Seed

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.dim < 1 or self.keep < 2:
            raise InputError(
                f"epochs={self.epochs}, dim={self.dim}, keep={self.keep}: "
                "give numbers >= 1, and keep >= 2"
            )
        check_file_name(self.name, "name")


def run(config: DictConfig, folder: Path) -> float:
    """Write NAME.safetensors and NAME-reference.safetensors; returns the test accuracy.

    A NAME.safetensors that is there already, and whole, is kept.
    """
    with Run(config, folder, ExtractorTask) as job:
        task, precision = job.task, job.precision
        data, held_out = (part.as_pictures() for part in both_splits(config))
        job.begin()
        path = folder / f"{task.name}.safetensors"
        if EXTRACTOR.recall(path, lambda *content: True) is None:
            train_cnn(data, path, task.epochs, task.dim, task.seed, task.architecture, precision)
        trained = job.seconds
        extractor = CnnExtractor(str(path))
        reference = ReferenceSet.of(extractor, data, held_out, task.keep)
        reference.save(folder / f"{task.name}-reference.safetensors")
        accuracy, floor = extractor.accuracy(held_out), floor_rows(reference)
        job.result(
            {
                "accuracy": accuracy,
                "seconds": job.seconds,
                "seconds_of_training": trained,
                "fingerprint": extractor.fingerprint,
                "data": data.name,
                "loaded": {"train": data.described, "held_out": held_out.described},
                "data_fingerprint": data.fingerprint,
                "floor": floor,
            }
        )
    for row in floor:
        print(f"floor of {score_line(extractor.metric, row)}")
    print(f"accuracy {accuracy:.4f}: {folder}")
    return accuracy
