"""The conditions that a data set has for its images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sde_diffusion.conditions.condition import LAYOUT, REFERENCE, TEXT, Condition, Part
from sde_diffusion.conditions.text import Text, vocabulary
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.system.devices import sent

SIDES = (TEXT, LAYOUT, REFERENCE)


def with_text(
    data: ImageSet, held_out: ImageSet, stored: Mapping[str, Any] | None = None
) -> tuple[ImageSet, ImageSet]:
    """Both sets, their captions as numbers of one vocabulary, the words of both.

    Args:
        stored: the words and the length of a model to start from: they stay where the captions keep
            to them, whatever the data at hand happen to say.
    """
    if not data.captions:
        return data, held_out
    words, length = vocabulary([*data.captions, *held_out.captions])
    if stored and set(words) <= set(stored["words"]) and length <= stored["length"]:
        words, length = stored["words"], stored["length"]
    text = Text(words, length)
    legend = {TEXT: {"words": words, "length": length}}
    data, held_out = (
        replace(
            each,
            given={**each.given, TEXT: text.tokens(each.captions)},
            legend={**each.legend, **legend},
        )
        for each in (data, held_out)
    )
    return data, held_out


def described(data: ImageSet) -> dict[str, Any]:
    """What a checkpoint says of the conditions that its data had."""
    shapes = {name: list(values.shape[1:]) for name, values in data.given.items()}
    return {
        name: {"shape": shapes[name], **data.legend.get(name, {})}
        for name in SIDES
        if name in data.given
    }


def network_sizes(data: ImageSet) -> dict[str, Any]:
    """What a network is told of them."""
    sizes: dict[str, Any] = {}
    if TEXT in data.given:
        legend = data.legend[TEXT]
        sizes[TEXT] = [1 + len(legend["words"]), legend["length"]]
    if LAYOUT in data.given:
        legend = data.legend[LAYOUT]
        sizes[LAYOUT] = [1 + len(legend["shapes"]), 1 + len(legend["colours"])]
    if REFERENCE in data.given:
        sizes[REFERENCE] = data.given[REFERENCE].shape[-1]
    return sizes


def condition_of(data: ImageSet, rows: Tensor, device: torch.device | str) -> Condition | None:
    """Labels and what else the images of ``rows`` have; a part of zeros is none."""
    parts: dict[str, Part] = {}
    if data.labels is not None:
        parts |= Condition.label(sent(data.labels[rows], device)).parts
    for name, values in data.given.items():
        value = sent(values[rows], device)
        parts[name] = Part(value, (value != 0).flatten(1).any(1))
    return Condition(parts) if parts else None
