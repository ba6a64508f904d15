"""The data set ``shapes``: as many pictures as are asked for, each a function of (seed, number)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from sde_diffusion.data.base import DataSource
from sde_diffusion.data.shapes import vocabulary as v
from sde_diffusion.data.shapes.render import patches, pictures
from sde_diffusion.data.shapes.scenes import Scenes, scenes
from sde_diffusion.data.shapes.wording import SAID, Choices, described, sentence
from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.system.spelling import none_of

SPLITS = ("train", "test")
GIVEN = ("text", "layout", "reference")
MOST = 2**24
LABELS = ("count", "shape", "colour", "texture", "object")
WORN = 0.3  # share of scenes of which one texture is said by a patch


class Shapes(DataSource):
    """n pictures uint8 [n, 3, 32, 32] of one to three objects, with captions and conditions.

    Captions say what is true, in varied words, and leave things out. The conditions are a layout
    (shape and colour of each pixel, uint8 [n, 2, 32, 32]) and, of some scenes, a reference: a
    patch [n, 3, 16, 16] of the texture that the object called *patterned* wears, zeros if none.

    Args:
        n: number of pictures.
        split: ``train`` leaves out some pairs of shape and colour, ``test`` has all.
        seed: two splits or seeds share no scene.
        objects: in each picture; null: one to three.
        label: what is the label: count, or the shape, colour or texture of the first object, or all
            three of it (object); null.
        given: what comes with the pictures: text, layout, reference.
        held_out: pictures of the split ``test``.
        said: how often the size of an object is said, and how often its texture.
    """

    def __init__(
        self,
        n: int = 20000,
        split: str = "train",
        seed: int = 0,
        objects: int | None = None,
        label: str | None = None,
        given: Sequence[str] = GIVEN,
        held_out: int = 2000,
        said: float = SAID,
    ) -> None:
        if split not in SPLITS:
            raise InputError(f"data.split={split}: choose train or test")
        if not 1 <= n <= MOST or not 0 <= seed < 2**62:
            raise InputError(f"data.n={n}, seed={seed}: give n from 1 to {MOST}, seed >= 0")
        if objects is not None and not 1 <= objects <= v.OBJECTS:
            raise InputError(f"data.objects={objects}: give 1 to {v.OBJECTS}, or null")
        if label is not None and label not in LABELS:
            raise none_of("data.label", label, LABELS, ", or null")
        if unknown := [name for name in given if name not in GIVEN]:
            raise InputError(f"data.given={unknown[0]}: choose among {', '.join(GIVEN)}")
        if not 2 <= held_out <= MOST:
            raise InputError(f"data.held_out={held_out}: give 2 to {MOST}")
        self.n, self.split, self.seed = n, split, seed
        self.objects, self.label = objects, label
        if not 0 <= said <= 1:
            raise InputError(f"data.said={said}: give a rate from 0 to 1")
        self.given, self.held_out, self.said = tuple(given), held_out, said

    def scenes(self) -> Scenes:
        """What the pictures show."""
        count = self.n if self.split == "train" else self.held_out
        number = 2 * self.seed + SPLITS.index(self.split)
        return scenes(number, range(count), self.split == "test", self.objects)

    def load(self) -> ImageSet:
        held = self.scenes()
        images, layout = pictures(held)
        reference, captions = worded(held, self.said)
        labels, names = self._labels(held)
        values = {"layout": layout, "reference": reference}
        return ImageSet(
            images,
            labels,
            len(names),
            f"shapes-{self.split}",
            names,
            captions=captions if "text" in self.given else (),
            given={name: value for name, value in values.items() if name in self.given},
            legend={
                "layout": {
                    "shapes": list(v.SHAPES),
                    "colours": {k: list(rgb) for k, rgb in v.COLOURS.items()},
                }
            },
        )

    def _labels(self, held: Scenes) -> tuple[Tensor | None, tuple[str, ...]]:
        if self.label is None:
            return None, ()
        if self.label == "count":
            return held.count - 1, ("one", "two", "three")
        if self.label == "object":
            kinds = product(v.TEXTURES, v.COLOUR_NAMES, v.SHAPES)
            first = held.texture * len(v.COLOURS) + held.colour
            return (first * len(v.SHAPES) + held.shape)[:, 0], tuple(map(" ".join, kinds))
        names = {"shape": v.SHAPES, "colour": v.COLOUR_NAMES, "texture": v.TEXTURES}[self.label]
        return getattr(held, self.label)[:, 0].clone(), names


def worded(held: Scenes, said: float = SAID) -> tuple[Tensor, tuple[str, ...]]:
    """Reference patches [N, 3, 16, 16], zeros where there is none, and captions."""
    u = held.choices
    object_ = (u[:, 1] * held.count).long()
    worn = u[:, 0] < WORN
    rows = torch.arange(len(held))
    colour = (u[:, 2] * len(v.COLOURS)).long()
    shifts = (u[:, 3] * 4).long(), (u[:, 4] * 4).long()
    patch = patches(
        held.texture[rows, object_], colour, held.turned[rows, object_], shifts[0], shifts[1]
    )
    captions = []
    for row, values in enumerate(u[:, 5:].tolist()):
        choices = Choices(values)
        wearing = int(object_[row]) if worn[row] else None
        captions.append(sentence(described(held, row, choices, wearing, said), choices))
    return torch.where(worn[:, None, None, None], patch, 0), tuple(captions)
