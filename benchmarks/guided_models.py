"""What ``guided.py`` draws from: two shipped models, what they are asked, and who judges them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sde_diffusion.config.compose import compose_task
from sde_diffusion.data.shapes.source import Shapes
from sde_diffusion.data.shapes.verifier import agrees, read
from sde_diffusion.data.shapes.vocabulary import PATTERNED
from sde_diffusion.data.shapes.wording import parsed
from sde_diffusion.images.pixels import to_float
from sde_diffusion.metrics.extractors import CnnExtractor
from sde_diffusion.metrics.reference import ReferenceSet
from sde_diffusion.system.provenance import revision
from sde_diffusion.system.storage import asset
from sde_diffusion.tasks import train

SCENES = 5000  # of the reference of one object


@dataclass(frozen=True)
class Judged:
    """An extractor's features and name."""

    name: str

    @property
    def made(self) -> CnnExtractor:
        return extractor(self.name)

    def features(self, images: Tensor) -> Tensor:
        """[N, d] of uint8 images."""
        return self.made(images)


@cache
def extractor(name: str) -> CnnExtractor:
    """The shipped one of that name, opened once."""
    return CnnExtractor(name)


@dataclass(frozen=True)
class Case:
    """One model.

    Attributes:
        name, model: of the page and of the checkpoint. what: is drawn, and how a setting is chosen.
        scales: of every guidance.
        choosing, judging: pictures that choose a setting, and that are judged at it.
        training: what ``sde-diffusion train`` is told for the worse model.
        asked(first, n): what the model is asked for. right(images, first): which show it.
        worth(fd, right): what is the largest at the best setting.
        classes: labels in rotation, 0 if there are none. known: makes the reference.
    """

    name: str
    model: str
    what: str
    extractor: Judged
    scales: tuple[float, ...]
    choosing: int
    judging: int
    training: tuple[str, ...]
    asked: Callable[[int, int], dict[str, Any]]
    right: Callable[[Tensor, int], list[bool]]
    worth: Callable[[float, float], float]
    reference: Callable[[], ReferenceSet]
    classes: int = 0

    def strata(self, n: int) -> Tensor | None:
        """The labels of n pictures, where they were set."""
        return torch.arange(n) % self.classes if self.classes else None

    def worse(self, folder: Path) -> Path:
        """The worse model, trained once for a revision."""
        model = folder / f"{self.name}-worse-{revision()}" / "model.safetensors"
        if not model.is_file():
            train.run(compose_task(["task=train", *self.training]), model.parent)
        return model


def digits_right(images: Tensor, first: int) -> list[bool]:
    """Which are recognised as the class that was asked for, seed mod 10."""
    with torch.no_grad():
        seen = extractor("mnist-cnn").network(to_float(images)).argmax(1)
    return torch.eq(seen, (first + torch.arange(len(images))) % 10).tolist()


@cache
def captions(first: int, n: int) -> list[str]:
    """Of scenes of one object, no two sets alike; none names a reference patch."""
    texts = Shapes(n=2 * n, seed=100 + first, objects=1).load().captions
    return [text for text in texts if PATTERNED not in text][:n]


def shapes_right(images: Tensor, first: int) -> list[bool]:
    """Which show all that their caption says, and nothing else."""
    said = [parsed(text) for text in captions(first, len(images))]
    return [
        told is not None and agrees(told, seen)
        for told, seen in zip(said, read(images), strict=True)
    ]


CASES = {
    "digits": Case(
        "digits", "mnist-large",
        "Labels in rotation; the setting of least FD counts as the best, and *as asked* is what "
        "the classifier `mnist-cnn` recognises. The worse model is smaller, and early in its "
        "training.",
        Judged("mnist-cnn"), (1.1, 1.25, 1.5), 120, 500,
        ("experiment=mnist", "network.middle=null", "steps=400", "batch_size=64", "warmup=40",
         "save_every=400", "lr=2e-3", "precision=float32"),
        lambda first, n: {"label": "all"}, digits_right, lambda fd, right: -fd,
        lambda: ReferenceSet.load(asset("mnist-cnn-reference"), extractor("mnist-cnn")), 10,
    ),
    "shapes": Case(
        "shapes", "shapes",
        "Captions of scenes of one object; the setting of most pictures as asked counts as the "
        "best, read by the verifier. The worse model is an early snapshot of the same recipe.",
        Judged("shapes-cnn"), (2.0, 5.0), 100, 320,
        ("experiment=shapes", "steps=300", "warmup=30", "save_every=300"),
        lambda first, n: {"prompt": captions(first, n)}, shapes_right,
        lambda fd, right: right,
        lambda: ReferenceSet.of(
            extractor("shapes-cnn"), Shapes(n=SCENES, seed=50, objects=1).load(), keep=SCENES
        ),
    ),
}  # fmt: skip
