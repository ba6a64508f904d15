"""What each word of a caption of shapes says of the object that it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sde_diffusion.conditions.text import Text, words_of
from sde_diffusion.data.shapes import vocabulary as v
from sde_diffusion.data.shapes.scenes import scenes
from sde_diffusion.data.shapes.source import worded
from sde_diffusion.data.shapes.wording import Description, Thing, parsed

OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}
REGIONS = [(row, column) for row in v.ROWS for column in v.COLUMNS]
# What a word is asked of the object that it is said of, and the answers; None where unsaid.
FACTS: dict[str, list[Any]] = {
    "shape": [*v.SHAPES, None],
    "colour": [*v.COLOUR_NAMES, None],
    "size": [*v.SIZES, None],
    "texture": [*v.TEXTURES, v.PATTERNED, None],
    "relation to the first other": [*v.RELATIONS, None],
    "relation to the third": [*v.RELATIONS, None],
    "place": [*REGIONS, None],
    "which of them": [0, 1, 2],
    "how many": [1, 2, 3],
}
NOUNS = {*v.SHAPES, *v.ANY}
NO_WORD = -100  # the target of no word, which cross_entropy passes over


@dataclass(frozen=True)
class Sentences:
    """Words int64 [N, L], and of each what it belongs to, int64 [N, L, len(FACTS)]."""

    words: Tensor
    facts: Tensor


def sentences(seed: int, count: int, all_pairs: bool, text: Text) -> Sentences:
    """Captions of scenes, read by the grammar that they were made with."""
    captions = worded(scenes(seed, range(count), all_pairs))[1]
    words = text.tokens(captions)
    facts = torch.full((*words.shape, len(FACTS)), NO_WORD)
    for row, caption in enumerate(captions):
        said = parsed(caption)
        assert said is not None
        of_things = [answers(said, i) for i in range(len(said.things))]
        thing = 0
        for place, word in enumerate(words_of(caption)):
            facts[row, place] = of_things[min(thing, len(of_things) - 1)]
            thing += word in NOUNS  # the noun ends what is said of one
    return Sentences(words, facts)


def answers(said: Description, i: int) -> Tensor:
    """The number of each fact's answer, of object i."""
    thing: Thing = said.things[i]
    relations = {(a, b): way for a, way, b in said.relations}
    relations |= {(b, a): OPPOSITE[way] for (a, b), way in relations.items()}
    values = [thing.shape, thing.colour, thing.size, thing.texture]
    values += [relations.get((i, 0 if i else 1)), None if i else relations.get((0, 2))]
    values += [said.region, i, len(said.things)]
    return torch.tensor([known.index(x) for known, x in zip(FACTS.values(), values, strict=True)])
