"""``sde-diffusion evaluate``: distances of any images to any reference images."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from omegaconf import DictConfig

from sde_diffusion.config.compose import build, read
from sde_diffusion.data import ImageSet, load_images
from sde_diffusion.errors import InputError
from sde_diffusion.images.sheet import image_grid, png_bytes
from sde_diffusion.metrics.extractors import Extractor
from sde_diffusion.metrics.judge import Judge, metrics, score_line
from sde_diffusion.metrics.memorisation import memorisation
from sde_diffusion.metrics.reference import ReferenceSet
from sde_diffusion.metrics.references import judged_by, reference_for
from sde_diffusion.report.comparison import measured
from sde_diffusion.system.provenance import machine
from sde_diffusion.system.storage import write_atomically
from sde_diffusion.system.tracking import Tracker
from sde_diffusion.tasks.run import job

FORMAT = 1


@dataclass
class EvaluateTask:
    """Keys of the task."""

    images: str
    reference: str | None
    samples: list[int] | None
    train: str | None


def _training(train: str, known: ReferenceSet) -> ImageSet:
    """The images that the model was trained on; InputError where no check can be made of them."""
    images = load_images(train, key="train")
    if images.images.shape[1:] != known.shape:
        raise InputError(
            f"train={train}: shape {tuple(images.images.shape[1:])} is not the reference's "
            f"{known.shape}; give the images as the model saw them"
        )
    if not len(known.held_out):
        raise InputError(
            f"train={train}: reference {known.name} has no held-out images, which give the "
            "scale; name a data set as reference, or make one with 'sde-diffusion reference'"
        )
    return images


def run(config: DictConfig, folder: Path) -> float:
    """Write result.json into ``folder``; returns the Frechet distance of all images.

    With ``train``, nearest.png too: the images nearest to a training image, above that image.
    """
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
    judge = Judge(known.reference, known.features, metrics(config.get("metric")))
    training = None if task.train is None else _training(task.train, known)
    features = extractor(images.images)
    floors = judge.floors(known.held_out, counts)
    rows = [
        {**row, "floor": floors[row["samples"]]["fd"] if row["samples"] in floors else None}
        for row in judge.rows(features, counts)
    ]
    result = {
        "format": FORMAT,
        **judged_by(extractor, known),
        "images": task.images,
        "images_fingerprint": images.fingerprint,
        "rows": rows,
        "floors": list(floors.values()),
        **machine(),
    }
    if training is not None:
        copied = memorisation(features, known.held_out, extractor(training.images))
        result["memorisation"] = {
            "train": training.name, "train_fingerprint": training.fingerprint, **asdict(copied)
        }  # fmt: skip
        pairs = [(a, b) for a, b, _ in copied.pairs]
        shown = [images.images[[a for a, _ in pairs]], training.images[[b for _, b in pairs]]]
        picture = png_bytes(image_grid(torch.cat(shown), columns=len(pairs)))
        write_atomically(folder / "nearest.png", picture)
    write_atomically(folder / "result.json", json.dumps(result, indent=2).encode())
    tracker: Tracker = build(config.tracker, "tracker", Tracker)
    with tracker:
        tracker.start(job(config, folder))
        for step, row in enumerate(rows):
            tracker.log({"fd": row["fd"], "samples": row["samples"]}, step)
        if training is not None:
            tracker.image("nearest", folder / "nearest.png")
    for row in rows:
        print(score_line(extractor.metric, row))
        others = [f"{name} {row[name]:.4g}" for name in measured([row]) if row[name] is not None]
        print(f"  {', '.join(others)}" if others else "  no other metric at this N")
    if training is not None:
        print(
            f"nearest training image: {copied.ratio:.3g} times as far as from unseen images, "
            f"{copied.fraction:.1%} nearer than {copied.quantile:.0%} of those: nearest.png"
        )
    print(f"result.json: {folder}")
    return float(rows[-1]["fd"])
