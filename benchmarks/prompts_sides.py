"""Layouts, patches of texture, two that disagree, and what a prompt leaves open."""

from __future__ import annotations

import math
from collections import Counter
from functools import cache, partial
from pathlib import Path
from typing import Any

import page
import render
import torch
from scipy.stats import chisquare
from torch import Tensor

from sde_diffusion import EDM, ClassifierFree, DPMpp2MSDE, Karras, UniPC, load
from sde_diffusion.conditions.condition import LAYOUT, REFERENCE, Condition, Part
from sde_diffusion.data.shapes import vocabulary as v
from sde_diffusion.data.shapes.scenes import allowed
from sde_diffusion.data.shapes.source import WORN, Shapes
from sde_diffusion.data.shapes.verifier import BRIGHT, Seen, agrees, read
from sde_diffusion.data.shapes.wording import parsed
from sde_diffusion.guidance import guided
from sde_diffusion.sampling.sampler import Request, Sampler

SOLVERS = {"unipc": (UniPC(), 40), "dpmpp_2m_sde": (DPMpp2MSDE(), 80)}  # and evaluations
OPEN = ("a large circle", "a shape")  # prompts of which many pictures are drawn
SCALES = (0.0, 2.0, 4.0)


@cache
def model(checkpoint: str) -> Any:
    """The model, opened once."""
    return load(checkpoint, precision="bfloat16")


def drawn(checkpoint: str, cond: Condition, scale: float, solver: str = "unipc") -> Tensor:
    """uint8 [N, 3, H, W] under a condition, seeds 0, 1, ..."""
    opened = model(checkpoint)
    denoiser = guided(opened.denoiser, [ClassifierFree(scale)] if scale else [])
    way, nfe = SOLVERS[solver]
    made = Sampler.build(EDM(), denoiser, way, Karras())
    return made.sample(Request(range(len(cond)), nfe if scale else nfe // 2, cond)).images


def asked(checkpoint: str, texts: list[str], **sides: Tensor) -> Condition:
    """Sentences (none where they are empty) and what is given beside them."""
    opened = model(checkpoint)
    words = [text or "a shape" for text in texts]
    cond = opened.condition({"prompt": words}, range(len(texts)))
    cond = cond.dropped(torch.tensor([not text for text in texts]))
    for name, value in sides.items():
        cond = cond.with_part(name, Part.of(value))
    return cond


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


def references(checkpoint: str, n: int, scale: float, solver: str) -> dict[str, Any]:
    """Captions that call an object patterned, with the patch that says how."""
    source = Shapes(split="test", held_out=8 * n, seed=3)
    data, held = source.load(), source.scenes()
    worn = (held.choices[:, 0] < WORN).nonzero().flatten()[:n].tolist()
    which = (held.choices[worn, 1] * held.count[worn]).long()
    names = [v.TEXTURES[int(t)] for t in held.texture[worn, which]]
    texts = [data.captions[i] for i in worn]
    found = {}
    for name, sides in {
        "with the patch": {REFERENCE: data.given[REFERENCE][worn]}, "without": {},
        "with patch and layout": {
            REFERENCE: data.given[REFERENCE][worn], LAYOUT: data.given[LAYOUT][worn]
        },
    }.items():  # fmt: skip
        seen = read(drawn(checkpoint, asked(checkpoint, texts, **sides), scale, solver))
        kept = matched = 0
        for text, texture, objects in zip(texts, names, seen, strict=True):
            said = parsed(text)
            kept += agrees(said, objects)
            matched += agrees(said, objects, texture)
        found[name] = {"kept": kept, "matched": matched, "n": len(texts)}
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


def sections(checkpoint: str, n: int, outputs: Path) -> list[str]:
    """The parts of the page."""
    maps = page.once(outputs, f"layouts-{n}", lambda: layouts(checkpoint, n, 2.0))
    patches = {
        solver: page.once(
            outputs,
            f"references-{solver}-{2 * n}",
            partial(references, checkpoint, 2 * n, 3.0, solver),
        )
        for solver in SOLVERS
    }
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
        "## Patches of texture\n\nCaptions that call an object patterned. *Kept*: all else that "
        "the caption says; *matched*: that, and the object wears the texture of the patch. At "
        "scale 3, UniPC with 40 evaluations and DPM++ 2M SDE with 80.",
        render.markdown(
            ["solver", "asked", "pictures", "kept", "matched", "matched of those kept"],
            [
                [solver, name, f["n"], f["kept"], f["matched"], f["matched"] / max(1, f["kept"])]
                for solver, found in patches.items() for name, f in found.items()
            ],
        ),
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
