"""``sde-diffusion convert``: a checkpoint of any kind as a file of ours, or a diffusers folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from omegaconf import DictConfig

from sde_diffusion.errors import InputError
from sde_diffusion.models.export import FORMATS, save_model
from sde_diffusion.system.ranges import OneOf
from sde_diffusion.system.storage import asset
from sde_diffusion.tasks.run import Run


@dataclass
class ConvertTask:
    """Keys of the task."""

    checkpoint: str
    source: dict[str, Any] | None
    output: str
    format: Annotated[str, OneOf(*FORMATS)]
    device: str


def run(config: DictConfig, folder: Path) -> float:
    """Write ``output``, and result.json into ``folder``; returns the number of weights."""
    with Run(config, folder, ConvertTask) as job:
        model, path = job.model, Path(job.task.output)
        check_other(path, asset(job.task.checkpoint))
        job.begin()
        save_model(model, path, job.task.format)
        weights = sum(parameter.numel() for parameter in model.denoiser.parameters())
        job.result({"output": path.name, "weights": weights})
    print(f"checkpoint={path}")
    return float(weights)


def check_other(output: Path, source: Path) -> None:
    """InputError if ``output`` is the checkpoint, or a file of its folder: what stands there may
    hold more, a training's state, say."""
    there, original = output.absolute().resolve(), source.absolute().resolve()
    if there == original or (there.exists() and original in there.parents):
        raise InputError(f"output={output}: is there as the checkpoint itself; give another name")
