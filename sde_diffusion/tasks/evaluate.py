"""``sde-diffusion evaluate``: distances of any images to any reference images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Annotated, Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from sde_diffusion.data import ImageSet, load_images
from sde_diffusion.data.splits import fixed_order
from sde_diffusion.errors import InputError
from sde_diffusion.images.sheet import image_grid, png_bytes
from sde_diffusion.metrics.extractors import Extractor
from sde_diffusion.metrics.judge import Judge, Row, metrics, score_line
from sde_diffusion.metrics.memorisation import Memorisation, memorisation
from sde_diffusion.metrics.reference import ReferenceSet
from sde_diffusion.metrics.references import images_of, judged_by, making, shape_seen
from sde_diffusion.report.comparison import measured
from sde_diffusion.system.notice import notice
from sde_diffusion.system.ranges import Within
from sde_diffusion.system.resume import in_parts
from sde_diffusion.tasks.run import Run

# Of the variance of the reference: a distance below it is that of one set to itself. Of two sets of
# n images it is about 1 / n.
NOUGHT = 1e-6
PARTS = 256  # files that the features of all images lie in until the job has ended, at most
ORDER = "fewer than all are drawn at random, always alike"


@dataclass
class EvaluateTask:
    """Keys of the task."""

    images: str
    reference: str | None
    samples: Annotated[list[int], Within("2 <= samples")] | None
    train: str | None

    def load(self) -> ImageSet:
        """The images."""
        return load_images(self.images, key="images")

    def comparable(
        self, images: ImageSet, reference: ReferenceSet, by: Extractor
    ) -> tuple[ImageSet, ImageSet | None]:
        """The images, and those that the model was trained on, as the reference can judge them."""
        return self.counted(images, reference, by), self.training(reference, by)

    def counted(self, images: ImageSet, reference: ReferenceSet, by: Extractor) -> ImageSet:
        """The images in the channels of the reference; InputError unless it can judge them, and as
        many as are asked for."""
        images = comparable(images, reference, f"images={self.images}", by)
        if len(images) < 2:
            raise InputError(f"images={self.images}: 1 image; give at least 2")
        counts = [len(images)] if self.samples is None else self.samples
        if not counts:
            raise InputError("samples=[]: give at least one number of images, [500], or null")
        if min(counts) < 2 or max(counts) > len(images):
            raise InputError(f"samples={counts}: give numbers from 2 to the {len(images)} images")
        return images

    def training(self, reference: ReferenceSet, by: Extractor) -> ImageSet | None:
        """The images that the model was trained on, if they are named; InputError where no check
        can be made of them."""
        if self.train is None:
            return None
        images = load_images(self.train, key="train")
        images = comparable(images, reference, f"train={self.train}", by)
        if not len(reference.held_out):
            raise InputError(
                f"train={self.train}: reference {reference.name} has no held-out images, which "
                "give the scale; name a data set as reference, or make one with "
                f"{making(images.images.shape[1:], by, 'held_out=100')}"
            )
        return images


def run(config: DictConfig, folder: Path) -> float:
    """Write result.json into ``folder``; returns the Fréchet distance of all images.

    With ``train``, nearest.png too: the images nearest to a training image, above that image.
    """
    with Run(config, folder, EvaluateTask) as job:
        task = job.task
        images = task.load()
        job.judging = images_of(task.reference)
        job.pictures = shape_seen(images, task.reference, job.judging)
        reference = job.reference
        images, training = task.comparable(images, reference, job.extractor)
        judge = Judge(reference.reference, reference.features, metrics(config.get("metric")))
        job.begin()
        features = features_of(job, images)
        seen = None if training is None else features_of(job, training)
        if job.helps:
            return 0.0
        counts = task.samples or [len(images)]
        rows, floors = judged(judge, features, reference, counts, images)
        facts = {**protocol(job, images), "rows": rows, "floors": floors}
        copied = None
        if training is not None and seen is not None:
            copied = memorisation(features, reference.held_out, seen)
            names = {"train": training.name, "train_fingerprint": training.fingerprint}
            facts["memorisation"] = {**names, **asdict(copied)}
            job.output.picture("nearest.png", lambda: nearest(images, training, copied))
        job.result(facts)
        job.discard(folder / "parts")
        for step, row in enumerate(rows):
            job.output.log({"fd": row["fd"], "samples": row["samples"]}, step)
    tell_of_itself(f"images={task.images}", images, reference, rows)
    print("\n".join(lines(job.extractor.metric, rows, copied)))
    print(f"result.json: {folder}")
    return float(rows[-1]["fd"])


def protocol(job: Run[EvaluateTask], images: ImageSet) -> dict[str, Any]:
    """What was judged, and by what."""
    return {
        **judged_by(job.extractor, job.reference),
        "images": job.task.images,
        "loaded": images.described,
        "order": ORDER,
        "images_fingerprint": images.fingerprint,
    }


def features_of(job: Run[EvaluateTask], images: ImageSet) -> Tensor:
    """Features [N, d] of all images, in parts on disk until the job has ended."""
    depends = {"images": images.fingerprint, "extractor": job.extractor.fingerprint}
    size = job.extractor.batch_size
    size *= ceil(len(images) / (size * PARTS))

    def part(rows: slice) -> dict[str, Tensor]:
        return {"features": job.extractor(images.images[rows])}

    return in_parts(job.output.folder, depends, len(images), size, part, "features")["features"]


def comparable(images: ImageSet, reference: ReferenceSet, where: str, by: Extractor) -> ImageSet:
    """The images in the channels of the reference; InputError if they are of another size.

    Published statistics say nothing of images: their extractor does.
    """
    if not reference.shape:
        return images
    if images.images.shape[2:] == reference.shape[1:]:
        return images.with_channels(reference.shape[0], where, f"the reference {reference.name}")
    c, height, width = images.images.shape[1:]
    raise InputError(
        f"{where}: shape {(c, height, width)} is not the reference's {reference.shape}; give "
        f"images of that size, or a reference of theirs, {making((c, height, width), by)}"
    )


def judged(
    judge: Judge,
    features: Tensor,
    reference: ReferenceSet,
    counts: list[int],
    images: ImageSet | None = None,
) -> tuple[list[Row], list[Row]]:
    """A row for each number of images, with the floor at that number, and the rows of the floor.

    A smaller number is drawn at random: files are sorted by name, and so by class. The floor has as
    many images of each class, where the labels of ``images`` are those of the reference. If these
    were set, all images together have the interval of set labels; those drawn from them have not.
    """
    labels = None if images is None else images.labels
    if min(counts) < len(features):
        order = fixed_order(len(features))
        features, labels = features[order], None if labels is None else labels[order]
    rows: list[Row] = []
    floors: dict[int, Row] = {}
    for whole in (False, True):
        some = sorted({n for n in counts if (n == len(features)) == whole})
        if not some:
            continue
        fixed = whole and images is not None and images.labels_set
        rows += judge.rows(features, some, labels if fixed else None)
        held_out, real = reference.held_out, reference.held_out_labels
        floors |= judge.floors(held_out, some, real, labels, fixed)
    names = dict.fromkeys(name for row in rows for name in row)
    shown = [{**names, **row, "floor": floors.get(row["samples"], {}).get("fd")} for row in rows]
    return shown, list(floors.values())


def tell_of_itself(
    where: str, images: ImageSet, reference: ReferenceSet, rows: Sequence[Row]
) -> None:
    """A line if the images are those of the reference, in whatever order; the distance stands."""
    nought = NOUGHT * float(reference.reference.cov.trace())
    if images.fingerprint == reference.data_fingerprint or abs(rows[-1]["fd"]) <= nought:
        notice(
            f"{where}: these are the images of the reference {reference.name} itself, of which a "
            "distance says nothing; give samples of a model as images, or other real images as "
            "reference"
        )


def nearest(images: ImageSet, training: ImageSet, copied: Memorisation) -> bytes:
    """A PNG of the images nearest to a training image, above that image."""
    pairs = [(a, b) for a, b, _ in copied.pairs]
    above, below = images.images[[a for a, _ in pairs]], training.images[[b for _, b in pairs]]
    return png_bytes(image_grid(torch.cat([above, below]), columns=len(pairs)))


def lines(metric: str, rows: list[Row], copied: Memorisation | None) -> list[str]:
    """What is printed: two lines a row, and one of the check against training images."""
    text = []
    for row in rows:
        others = [f"{name} {row[name]:.4g}" for name in measured([row]) if row[name] is not None]
        text.append(score_line(metric, row))
        text.append(f"  {', '.join(others)}" if others else "  no other metric at this N")
    if copied is not None:
        text.append(
            f"nearest training image: {copied.ratio:.3g} times as far as from unseen images, "
            f"{copied.fraction:.1%} nearer than {copied.quantile:.0%} of those: nearest.png"
        )
    return text
