"""Distances of any images to any others, from Python."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

from sde_diffusion.config.options import Options
from sde_diffusion.errors import InputError
from sde_diffusion.face import values
from sde_diffusion.face.components import extractor_for
from sde_diffusion.face.keywords import keywords
from sde_diffusion.face.pictures import image_set, reference_images, reference_set
from sde_diffusion.face.rows import Row, Rows
from sde_diffusion.metrics.judge import Judge
from sde_diffusion.metrics.memorisation import Memorisation, memorisation
from sde_diffusion.metrics.references import judged_by, shape_seen
from sde_diffusion.report.html import uri
from sde_diffusion.tasks.evaluate import comparable, judged, lines, nearest, tell_of_itself

TAKES = ("extractor", "metrics")


@final
class Evaluation(Rows):
    """One row a number of images: ``fd`` is the plug-in distance, ``fd_debiased`` that without
    bias, ``floor`` that of as many real held-out images.

    Attributes:
        floors: the rows of the held-out images, where the reference holds some out.
        memorisation: whether they copy the training images, if these were given.
        nearest: the images nearest to a training image, above that image, as a PNG.
        facts: what the numbers depend on.
    """

    stem = "evaluation"

    def __init__(
        self,
        rows: Sequence[Row],
        floors: Sequence[Row],
        facts: Mapping[str, Any],
        copied: Memorisation | None = None,
        pairs: bytes | None = None,
    ) -> None:
        super().__init__(rows)
        self.floors, self.facts = list(floors), dict(facts)
        self.memorisation, self.nearest = copied, pairs

    def _files(self) -> dict[str, bytes]:
        pairs = {} if self.nearest is None else {"nearest.png": self.nearest}
        return {**super()._files(), **pairs}

    def __str__(self) -> str:
        text = lines(self.facts["metric"], self[:], self.memorisation)
        return "\n".join(text).removesuffix(": nearest.png")

    def __repr__(self) -> str:
        last = self[-1]
        return f"Evaluation({self.facts['metric']} {last['fd']:.4g} at N = {last['samples']})"

    def _repr_html_(self) -> str:
        names, lines = self._table()
        head = "".join(f"<th>{name}</th>" for name in names)
        body = "".join(
            f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in line)}</tr>"
            for line in lines
        )
        picture = "" if self.nearest is None else f'<img src="{uri(self.nearest)}" alt="nearest">'
        title = html.escape(f"{self.facts['metric']} to {self.facts['reference']}")
        return f"<div><p>{title}</p><table><tr>{head}</tr>{body}</table>{picture}</div>"


@keywords(*TAKES)
def evaluate(
    images: Any,
    reference: Any = None,
    n: Any = None,
    *,
    train: Any = None,
    extractor: Any = None,
    metrics: Any = ("kid", "prdc"),
    **options: Any,
) -> Evaluation:
    """The Fréchet distance of images to a reference, and other metrics beside it.

    Args:
        images: samples, a tensor or array [N, C, H, W] (uint8, or floats in -1 .. 1), a folder,
            .zip, .npz, or a data set.
        reference: likewise, or a ``ReferenceSet`` or its file; None: what is shipped for the
            extractor.
        n: numbers of images, prefixes; None: all.
        train: the images that a model was trained on, to see whether these are copies.
        extractor: of the features; None: by the shape of the images, ``mnist-cnn`` for MNIST's.
        metrics: beside the Fréchet distance.
        options: fields of what is given by name: ``extractor__channels=3``.
    """
    fields = Options.of(options, TAKES)
    shown = image_set("images", images)
    real = reference_images(reference)
    named = str(reference) if isinstance(reference, Path) else reference
    judge = extractor_for(fields, extractor, shape_seen(shown, named, real))
    measures = fields.several("metric", metrics, "metrics")
    against = reference_set(reference, judge, real)
    shown = comparable(shown, against, "images", judge)
    if len(shown) < 2:
        raise InputError(f"images: {len(shown)} of them; give at least 2")
    counts = [len(shown)] if n is None else values.several("n", n, 2)
    if not 2 <= min(counts) <= max(counts) <= len(shown):
        raise InputError(f"n={counts}: give numbers from 2 to the {len(shown)} images")
    training = None if train is None else image_set("train", train)
    if training is not None:
        training = comparable(training, against, "train", judge)
        if not len(against.held_out):
            raise InputError(
                f"train: reference {against.name} has no held-out images, which give the scale; "
                "give a data set as reference, MNIST(), say"
            )
    features = judge(shown.images)
    rows, floors = judged(
        Judge(against.reference, against.features, measures), features, against, counts, shown
    )
    tell_of_itself("images", shown, against, rows)
    facts = {**judged_by(judge, against), "images_fingerprint": shown.fingerprint}
    if training is None:
        return Evaluation(rows, floors, facts)
    facts["train_fingerprint"] = training.fingerprint
    copied = memorisation(features, against.held_out, judge(training.images))
    return Evaluation(rows, floors, facts, copied, nearest(shown, training, copied))
