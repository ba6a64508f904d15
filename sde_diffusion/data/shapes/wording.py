"""Sentences of scenes: what is said of one, and in which words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from sde_diffusion.data.shapes import vocabulary as v
from sde_diffusion.data.shapes.scenes import Scenes

SAID = 0.5  # how often a size is said, and how often a texture


@final
@dataclass(frozen=True)
class Thing:
    """What is said of one object; None, or no region, is left open.

    ``texture`` may be ``patterned``: that of the reference patch.
    """

    shape: str | None = None
    colour: str | None = None
    size: str | None = None
    texture: str | None = None


@final
@dataclass(frozen=True)
class Description:
    """What is said of a scene: its objects are these and no more.

    Attributes:
        things: of each object. region: row and column of a single one, such as (top, left).
        relations: (i, relation, j): object i is left of, right of, above, below object j.
    """

    things: tuple[Thing, ...]
    region: tuple[str, str] | None = None
    relations: tuple[tuple[int, str, int], ...] = ()


class Choices:
    """Uniforms, used up one after the other."""

    def __init__(self, u: Sequence[float]) -> None:
        self._left = iter(u)

    def whether(self, rate: float) -> bool:
        """True with this probability."""
        return next(self._left) < rate

    def among(self, values: Sequence[str]) -> str:
        """One of the values."""
        return values[int(next(self._left) * len(values))]


def described(
    scenes: Scenes, row: int, choices: Choices, wearing: int | None, said: float = SAID
) -> Description:
    """Something that is true of a scene: attributes are left out by chance.

    ``wearing`` is the object whose texture is that of the reference patch. Sizes and textures are
    told at the rate ``said``.
    """
    things = []
    for i in range(int(scenes.count[row])):
        thing = Thing(
            v.SHAPES[int(scenes.shape[row, i])],
            v.COLOUR_NAMES[int(scenes.colour[row, i])],
            v.SIZES[int(scenes.large[row, i])] if choices.whether(said) else None,
            v.TEXTURES[int(scenes.texture[row, i])] if choices.whether(said) else None,
        )
        kept = choices.whether(0.9), choices.whether(0.9)
        if wearing == i:
            thing = replace(thing, texture=v.PATTERNED)
        if not kept[0]:
            thing = replace(thing, colour=None)
        elif not kept[1]:
            thing = replace(thing, shape=None)
        things.append(thing)
    x, y = scenes.x[row].tolist(), scenes.y[row].tolist()
    placed = choices.whether(0.6 if len(things) < v.OBJECTS else 0.5)
    if len(things) == 1:
        return Description(tuple(things), region(x[0], y[0]) if placed else None)
    pairs = [(0, relation(x[0] - x[j], y[0] - y[j]), j) for j in range(1, len(things)) if placed]
    return Description(tuple(things), None, tuple(pairs))


def region(x: float, y: float) -> tuple[str, str]:
    """Row and column of a centre, by thirds of the picture."""
    return v.ROWS[int(np.searchsorted(v.THIRDS, y))], v.COLUMNS[int(np.searchsorted(v.THIRDS, x))]


def relation(dx: float, dy: float) -> str:
    """Where something is that lies dx right of another and dy below it: along the longer one."""
    if abs(dx) >= abs(dy):
        return "left" if dx < 0 else "right"
    return "above" if dy < 0 else "below"


def sentence(description: Description, choices: Choices) -> str:
    """The description in words: ``a large red circle left of a small blue square``."""
    phrases = [_phrase(thing, choices) for thing in description.things]
    opening = choices.among(v.OPENINGS)
    text = phrases[0]
    if description.region is not None:
        text += " " + _place(description.region, choices)
    elif description.relations:
        text += " " + " and ".join(
            f"{choices.among(v.SAID[place])} {phrases[j]}" for _, place, j in description.relations
        )
    elif len(phrases) > 1:
        text = f"{', '.join(phrases[:-1])} and {phrases[-1]}"
    return f"{opening} {text}".strip()


def _phrase(thing: Thing, choices: Choices) -> str:
    adjectives = [
        choices.among(v.SAID.get(word, (word,)))
        for word in (thing.size, thing.texture, thing.colour)
        if word is not None
    ]
    noun = choices.among(v.ANY) if thing.shape is None else thing.shape
    text = " ".join([*adjectives, noun])
    return f"{'an' if text[0] in 'aeiou' else 'a'} {text}"


def _place(where: tuple[str, str], choices: Choices) -> str:
    row, column = where
    if row == column == "middle":
        return "in the middle"
    if row == "middle":
        return f"on the {column}"
    if column == "middle":
        return f"at the {row}"
    return f"in the {row} {column}" + (" corner" if choices.whether(0.5) else "")


def parsed(text: str) -> Description | None:
    """What a sentence of this grammar says; None where it is none."""
    words = [word for word in text.lower().replace(",", " ").split() if word not in _SILENT]
    meant = [_MEANT.get(word, word) for word in words]
    things: list[Thing] = []
    relations: list[tuple[int, str, int]] = []
    place: list[str] = []
    thing, pending = Thing(), ""
    for word in meant:
        if word in v.SHAPES or word in v.ANY:
            things.append(replace(thing, shape=word if word in v.SHAPES else None))
            if pending:
                relations.append((0, pending, len(things) - 1))
            thing, pending = Thing(), ""
        elif word in v.COLOURS:
            thing = replace(thing, colour=word)
        elif word in v.SIZES:
            thing = replace(thing, size=word)
        elif word in v.TEXTURES or word == v.PATTERNED:
            thing = replace(thing, texture=word)
        elif word in (*v.ROWS, *v.COLUMNS, *v.RELATIONS):
            place.append(word)
            pending = word if word in v.RELATIONS else pending
        else:
            return None
    if not things or (pending and len(things) > 1):
        return None
    where = _region(place) if len(things) == 1 and place else None
    return Description(tuple(things), where, tuple(relations))


def _region(place: list[str]) -> tuple[str, str]:
    row = next((word for word in place if word in ("top", "bottom")), "middle")
    return row, next((word for word in place if word in ("left", "right")), "middle")


_SILENT = frozenset(
    ("a", "an", "the", "and", "of", "with", "on", "at", "in", "to", "picture", "image", "corner")
)
_MEANT = {way: word for word, ways in v.SAID.items() for way in ways if " " not in way}
