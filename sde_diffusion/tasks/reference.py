"""``sde-diffusion reference``: the reference statistics of a data set under an extractor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from omegaconf import DictConfig

from sde_diffusion.data.splits import split_off
from sde_diffusion.metrics.cache import cached_reference
from sde_diffusion.metrics.judge import floor_rows, score_line
from sde_diffusion.metrics.references import judged_by
from sde_diffusion.system.ranges import Within
from sde_diffusion.tasks.run import Run


@dataclass
class ReferenceTask:
    """Keys of the task."""

    held_out: Any
    keep: Annotated[int, Within("2 <= keep")]


def run(config: DictConfig, folder: Path) -> float:
    """Write EXTRACTOR-reference.safetensors and result.json; returns the floor at the largest N."""
    with Run(config, folder, ReferenceTask) as job:
        data, held_out = split_off(config, job.task.held_out)
        job.pictures = tuple(data.images.shape[1:])
        extractor = job.extractor
        job.begin()
        reference = cached_reference(extractor, data, held_out, job.task.keep)
        if job.helps:
            return 0.0
        path = folder / f"{extractor.name}-reference.safetensors"
        reference.save(path)
        floor = floor_rows(reference)
        job.result(
            {
                **judged_by(extractor, reference),
                "loaded": data.described,
                "held_out_n": len(reference.held_out),
                "floor": floor,
                "seconds": job.seconds,
            }
        )
    for row in floor:
        print(f"floor of {score_line(extractor.metric, row)}")
    print(f"reference={path}")
    return float(floor[-1]["fd"]) if floor else 0.0
