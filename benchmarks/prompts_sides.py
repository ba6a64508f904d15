"""Layouts, also with captions that disagree, and what a prompt leaves open."""

from __future__ import annotations

import math
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import page
import render
import torch
from prompts_drawn import SOLVERS, asked, drawn
from scipy.stats import chisquare
from torch import Tensor

from sde_diffusion.conditions.condition import LAYOUT
from sde_diffusion.data.shapes import vocabulary as v
from sde_diffusion.data.shapes.scenes import allowed
from sde_diffusion.data.shapes.source import Shapes
from sde_diffusion.data.shapes.verifier import BRIGHT, Seen, agrees, read
from sde_diffusion.data.shapes.wording import parsed

OPEN = ("a large circle", "a shape")  # prompts of which many pictures are drawn
SCALES = (0.0, 2.0, 4.0)


def overlap(images: Tensor, layouts: Tensor) -> float:
    """Mean IoU of what is bright in a picture and of where its layout has objects."""
    bright, wanted = images.amax(1).float() / 255 > BRIGHT, layouts[:, 0] > 0
    both, any_ = (bright & wanted).sum((1, 2)), (bright | wanted).sum((1, 2))
    return float((both / any_.clamp_min(1)).mean())


def colours_right(seen: list[list[Seen]], layouts: Tensor) -> float:
    """Share of pictures whose objects have the colours of the layout, as many of each."""
    right = 0
    for objects, (shape, colour) in zip(seen, layouts, strict=True):
        there = set(zip(shape[shape > 0].tolist(), colour[shape > 0].tolist(), strict=True))
        right += {v.COLOUR_NAMES[c - 1] for _, c in there} == {each.colour for each in objects}
    return right / len(seen)


def layouts(checkpoint: str, n: int, scale: float) -> dict[str, float]:
    """Layouts alone, with their captions, and with the captions of other pictures."""
    data = Shapes(split="test", held_out=4 * n, seed=2).load()
    plain = [i for i, text in enumerate(data.captions) if v.PATTERNED not in text][: n + 1]
    maps, texts = data.given[LAYOUT][plain], [data.captions[i] for i in plain]
    found = {}
    for name, words in {
        "alone": [""] * n, "with its caption": texts[:n], "with another's caption": texts[1:],
    }.items():  # fmt: skip
        images = drawn(checkpoint, asked(checkpoint, words, layout=maps[:n]), scale)
        seen = read(images)
        said = [parsed(text) for text in words]
        told = [agrees(s, o) for s, o in zip(said, seen, strict=True) if s is not None]
        found[name] = {
            "iou": overlap(images, maps[:n]),
            "colours": colours_right(seen, maps[:n]),
            "caption": sum(told) / len(told) if told else None,
        }
    return found


def opened_up(checkpoint: str, prompt: str, n: int, scale: float, solver: str) -> dict[str, Any]:
    """What n pictures of one prompt show where it says nothing, and how it is spread."""
    seen = read(drawn(checkpoint, asked(checkpoint, [prompt] * n), scale, solver))
    said = parsed(prompt)
    first = [objects[0] for objects in seen if objects]
    colours = Counter(each.colour for each in first)
    shape = None if said is None else said.things[0].shape
    may = allowed(False)[v.SHAPES.index(shape)] if shape else torch.arange(len(v.COLOURS))
    names = [v.COLOUR_NAMES[int(k)] for k in may if k >= 0]
    textures = Counter(each.texture for each in first)
    law = [len(first) * share for share in v.TEXTURE_LAW]
    counts = [colours[name] for name in names]
    joint = Counter((each.shape, each.colour, each.size, each.texture) for each in first)
    entropy = -sum(k / len(first) * math.log(k / len(first)) for k in joint.values())
    return {
        "scale": scale, "prompt": prompt, "n": n, "solver": solver,
        "right": sum(agrees(said, objects) for objects in seen),
        "colours": float(chisquare(counts).pvalue) if sum(counts) else 0.0,
        "textures": float(chisquare([textures[name] for name in v.TEXTURES], law).pvalue),
        "kinds": len(joint), "effective": math.exp(entropy),
    }  # fmt: skip


def of_layouts(checkpoint: str, n: int, outputs: Path) -> list[str]:
    """The part of the page on layouts."""
    maps = page.once(outputs, f"layouts-{n}", lambda: layouts(checkpoint, n, 2.0))
    return [
        f"## Layouts\n\n{n} held-out maps at scale 2, UniPC with 40 evaluations. IoU: of what is "
        "bright and of where the map has objects. Another's caption contradicts the map: what is "
        "then followed is what wins.",
        render.markdown(
            ["layout", "mean IoU", "colours right", "caption followed"],
            [
                [name, *(None if x is None else f"{x:.3f}" for x in found.values())]
                for name, found in maps.items()
            ],
        ),
    ]


def left_open(checkpoint: str, n: int, outputs: Path) -> list[str]:
    """The part of the page on what prompts leave open."""
    spread = [
        page.once(
            outputs,
            f"open-{solver}-{prompt.replace(' ', '_')}-{scale:g}-{n}",
            partial(opened_up, checkpoint, prompt, n, scale, solver),
        )
        for prompt in OPEN
        for solver in SOLVERS
        for scale in SCALES
    ]
    return [
        f"## What a prompt leaves open\n\n{n} pictures of one prompt. P-values of chi-square "
        "tests that colours and textures come in the proportions of training; kinds of shape, "
        "colour, size and texture that are seen, and how many equally frequent ones their entropy "
        "is worth. With the evaluations above, half of them without guidance.",
        render.markdown(
            ["prompt", "solver", "scale", "as asked", "colours, p", "textures, p", "kinds",
             "effective"],
            [
                [f["prompt"], f["solver"], f"{f['scale']:g}" if f["scale"] else "none",
                 f"{f['right']} of {f['n']}", f["colours"], f["textures"], f["kinds"],
                 f["effective"]]
                for f in spread
            ],
        ),
    ]  # fmt: skip
