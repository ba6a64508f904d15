"""``sde-diffusion reference``: the reference statistics of a data set under an extractor."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from sde_diffusion.config.compose import build, read
from sde_diffusion.data.splits import split_off
from sde_diffusion.metrics.cache import cached_reference
from sde_diffusion.metrics.extractors import Extractor
from sde_diffusion.metrics.judge import Judge, Row, score_line
from sde_diffusion.metrics.reference import ReferenceSet
from sde_diffusion.metrics.references import judged_by
from sde_diffusion.system.provenance import machine
from sde_diffusion.system.storage import write_atomically

FORMAT = 1
FLOOR_COUNTS = (500, 1000, 2000, 5000)


@dataclass
class ReferenceTask:
    """Keys of the task."""

    held_out: Any
    keep: int


def floor_rows(reference: ReferenceSet) -> list[Row]:
    """The rows of 500, 1,000, ... held-out images, and of all that there are."""
    held_out = reference.held_out.double()
    counts = [n for n in (*FLOOR_COUNTS, len(held_out)) if 2 <= n <= len(held_out)]
    judge = Judge(reference.reference, reference.features.double())
    return list(judge.floors(held_out, counts).values())


def run(config: DictConfig, folder: Path) -> float:
    """Write EXTRACTOR-reference.safetensors and result.json; returns the floor at the largest N."""
    task = read(config, ReferenceTask)
    extractor: Extractor = build(config.extractor, "extractor", Extractor)
    data, held_out = split_off(config, task.held_out)
    began = time.perf_counter()
    reference = cached_reference(extractor, data, held_out, task.keep)
    path = folder / f"{extractor.name}-reference.safetensors"
    reference.save(path)
    floor = floor_rows(reference)
    result = {
        "format": FORMAT,
        **judged_by(extractor, reference),
        "held_out_n": len(reference.held_out),
        "floor": floor,
        "seconds": round(time.perf_counter() - began, 1),
        **machine(),
    }
    write_atomically(folder / "result.json", json.dumps(result, indent=2).encode())
    for row in floor:
        print(f"floor of {score_line(extractor.metric, row)}")
    print(f"reference={path}")
    return float(floor[-1]["fd"]) if floor else 0.0
