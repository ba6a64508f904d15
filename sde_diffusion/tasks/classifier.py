"""``sde-diffusion classifier``: a classifier of noisy images, for guidance=classifier."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from omegaconf import DictConfig

from sde_diffusion.config.compose import build
from sde_diffusion.data.splits import both_splits
from sde_diffusion.networks.classifier import CLASSIFIER, read_classifier, save_classifier
from sde_diffusion.system.names import check_file_name
from sde_diffusion.tasks.run import Run
from sde_diffusion.training.classifier import ClassifierTraining, accuracies, train_classifier
from sde_diffusion.training.levels import NoiseLevels


@dataclass(frozen=True)
class ClassifierTask(ClassifierTraining):
    """Keys of the task."""

    name: str = "classifier"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_file_name(self.name, "name")


def run(config: DictConfig, folder: Path) -> float:
    """Write NAME.safetensors; returns the accuracy at noise level 1.

    A NAME.safetensors that is there already, and whole, is kept.
    """
    with Run(config, folder, ClassifierTask) as job:
        task = job.task
        levels: NoiseLevels = build(config.levels, "levels", NoiseLevels)
        data, held_out = (part.as_pictures() for part in both_splits(config))
        job.begin(data.name)
        path = folder / f"{task.name}.safetensors"
        if CLASSIFIER.recall(path, lambda *content: True) is None:
            how = {field.name: getattr(task, field.name) for field in fields(ClassifierTraining)}
            trained = train_classifier(data, levels, ClassifierTraining(**how))
            facts = {
                "shape": list(data.images.shape[1:]),
                "classes": data.classes,
                "width": task.width,
                "data": data.name,
                "data_fingerprint": data.fingerprint,
            }
            save_classifier(path, trained, facts)
        network, _ = read_classifier(str(path), "name")
        accuracy = accuracies(network, held_out)
        loaded = {"train": data.described, "held_out": held_out.described}
        facts = {"accuracy": accuracy, "seconds": job.seconds, "data": data.name, "loaded": loaded}
        job.result(facts)
    shown = ", ".join(f"{share:.3f} at noise {level}" for level, share in accuracy.items())
    print(f"held-out images recognised: {shown}\nguidance.classifier.model={path}")
    return accuracy["1"]
