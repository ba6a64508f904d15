"""Does what a caption calls patterned wear the texture of the patch that is given?"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import page
import render
from prompts_drawn import SOLVERS, asked, drawn

from sde_diffusion.conditions.condition import LAYOUT, REFERENCE
from sde_diffusion.data.shapes import vocabulary as v
from sde_diffusion.data.shapes.source import WORN, Shapes
from sde_diffusion.data.shapes.verifier import agrees, read
from sde_diffusion.data.shapes.wording import parsed

SCALE = 3.0
# What is given beside the caption, and whether the other side goes without the patch alone.
ASKED = {
    "with the patch": ((REFERENCE,), False),
    "without": ((), False),
    "with patch and layout": ((REFERENCE, LAYOUT), False),
    "with the patch, away from no patch": ((REFERENCE,), True),
    "with patch and layout, away from no patch": ((REFERENCE, LAYOUT), True),
}


def patches(checkpoint: str, n: int, name: str, solver: str) -> dict[str, Any]:
    """How many of n pictures keep what the caption says, and wear the texture of the patch."""
    sides, away = ASKED[name]
    source = Shapes(split="test", held_out=8 * n, seed=3)
    data, held = source.load(), source.scenes()
    worn = (held.choices[:, 0] < WORN).nonzero().flatten()[:n].tolist()
    which = (held.choices[worn, 1] * held.count[worn]).long()
    textures = [v.TEXTURES[int(t)] for t in held.texture[worn, which]]
    texts = [data.captions[i] for i in worn]
    cond = asked(checkpoint, texts, **{side: data.given[side][worn] for side in sides})
    if away:
        cond = replace(cond, other=cond.dropped(None, REFERENCE))
    kept = matched = 0
    seen = read(drawn(checkpoint, cond, SCALE, solver))
    for text, texture, objects in zip(texts, textures, seen, strict=True):
        description = parsed(text)
        assert description is not None
        kept += agrees(description, objects)
        matched += agrees(description, objects, texture)
    return {"kept": kept, "matched": matched, "n": len(texts)}


def section(checkpoint: str, n: int, outputs: Path) -> list[str]:
    """The part of the page on patches."""
    rows = []
    for solver in SOLVERS:
        for i, name in enumerate(ASKED):
            work = partial(patches, checkpoint, n, name, solver)
            cell = page.once(outputs, f"patches-{solver}-{i}-{n}", work)
            share = cell["matched"] / max(1, cell["kept"])
            rows.append([solver, name, cell["n"], cell["kept"], cell["matched"], share])
    return [
        "## Patches of texture\n\nCaptions that call an object patterned. *Kept*: all else that "
        "the caption says; *matched*: that, and the object wears the texture of the patch. At "
        "scale 3, UniPC with 40 evaluations and DPM++ 2M SDE with 80. *Away from no patch*: "
        "guidance leads away from the same without the patch, which strengthens the patch alone: "
        "`negative=` the caption does so, or with a layout `Condition.other` in Python.",
        render.markdown(
            ["solver", "asked", "pictures", "kept", "matched", "matched of those kept"], rows
        ),
    ]
