"""``sde-diffusion evaluate``: distances of any images to any reference images."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from sde_diffusion.config import build, read
from sde_diffusion.data import load_images
from sde_diffusion.errors import InputError
from sde_diffusion.files import write_atomically
from sde_diffusion.metrics.extractors import Extractor
from sde_diffusion.tasks.common import job, machine, reference_for
from sde_diffusion.tasks.plans import metrics
from sde_diffusion.tasks.scores import Judge, score_line
from sde_diffusion.tracking import Tracker

FORMAT = 1


@dataclass
class EvaluateTask:
    """Keys of the task."""

    images: str
    reference: str | None
    samples: list[int] | None
    metrics: list[Any]


def run(config: DictConfig, folder: Path) -> float:
    """Write result.json into ``folder``; returns the Frechet distance of all images."""
    task = read(config, EvaluateTask)
    extractor: Extractor = build(config.extractor, "extractor", Extractor)
    images = load_images(task.images, key="images")
    known = reference_for(extractor, task.reference)
    if images.images.shape[1:] != known.shape:
        raise InputError(
            f"images={task.images}: shape {tuple(images.images.shape[1:])} is not the "
            f"reference's {known.shape}; resize one of the two"
        )
    counts = task.samples or [len(images)]
    if min(counts) < 2 or max(counts) > len(images):
        raise InputError(f"samples={counts}: give numbers from 2 to the {len(images)} images")
    judge = Judge(known.reference, known.features, metrics(task.metrics))
    floors = judge.floors(known.held_out, counts)
    rows = [
        {**row, "floor": floors[row["samples"]]["fd"] if row["samples"] in floors else None}
        for row in judge.rows(extractor(images.images), counts)
    ]
    result = {
        "format": FORMAT,
        "metric": extractor.metric,
        "images": task.images,
        "images_fingerprint": images.fingerprint,
        "extractor": extractor.name,
        "extractor_fingerprint": extractor.fingerprint,
        "reference": known.name,
        "reference_fingerprint": known.data_fingerprint,
        "reference_n": known.stats.n,
        "rows": rows,
        **machine(),
    }
    write_atomically(folder / "result.json", json.dumps(result, indent=2).encode())
    tracker: Tracker = build(config.tracker, "tracker", Tracker)
    with tracker:
        tracker.start(job(config, folder))
        for step, row in enumerate(rows):
            tracker.log({"fd": row["fd"], "samples": row["samples"]}, step)
    for row in rows:
        print(score_line(extractor.metric, row))
    print(f"result.json: {folder}")
    return float(rows[-1]["fd"])
