"""Does a picture show what its prompt says? Verified rates of the shipped shapes model.

``python benchmarks/prompts.py [CHECKPOINT]``; each cell is done once for a revision.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import page
import render

from sde_diffusion import load
from sde_diffusion.data.shapes.source import Shapes
from sde_diffusion.data.shapes.verifier import agrees, read
from sde_diffusion.data.shapes.vocabulary import HELD_OUT, PATTERNED
from sde_diffusion.data.shapes.wording import parsed

PROMPTS = 100
CELLS = [("unipc", 20, 0.0), ("unipc", 40, 2.0), ("unipc", 40, 4.0)]
OUTPUTS = page.HERE.parent / "outputs" / "benchmark-prompts"
KINDS = ("one object", "two", "three", "pairs never seen")


def prompts() -> list[str]:
    """Held-out captions that name no reference patch."""
    captions = Shapes(split="test", held_out=3 * PROMPTS, seed=1).load().captions
    return [text for text in captions if PATTERNED not in text][:PROMPTS]


def cell(checkpoint: str, solver: str, nfe: int, scale: float) -> dict[str, Any]:
    """What share of the pictures is read as its prompt says, and what share of things."""
    texts = prompts()
    guidance = {"guidance": "cfg", "guidance__cfg__scale": scale} if scale else {}
    drawn = load(checkpoint).sample(
        nfe=nfe, solver=solver, seeds=range(len(texts)), prompt=texts, **guidance
    )
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for text, seen in zip(texts, read(drawn.images), strict=True):
        said = parsed(text)
        assert said is not None
        kinds = [KINDS[len(said.things) - 1]]
        kinds += [KINDS[3]] * any((t.shape, t.colour) in HELD_OUT for t in said.things)
        colours = {t.colour for t in said.things if t.colour}
        for kind in (*kinds, *["colours"] * bool(colours), "count"):
            total[kind] += 1
            right[kind] += {
                "colours": colours <= {s.colour for s in seen},
                "count": len(seen) == len(said.things),
            }.get(kind, agrees(said, seen))
    return {"solver": solver, "nfe": drawn.nfe, "scale": scale, "right": right, "total": total}


def main() -> None:
    """Draw, read, write prompts.md."""
    checkpoint = sys.argv[1] if len(sys.argv) > 1 else "shapes"
    rows = []
    for solver, nfe, scale in CELLS:
        found = page.once(
            OUTPUTS,
            f"{solver}-{nfe}-{scale:g}",
            lambda solver=solver, nfe=nfe, scale=scale: cell(checkpoint, solver, nfe, scale),
        )
        rates = [
            f"{found['right'].get(kind, 0)} of {found['total'].get(kind, 0)}"
            for kind in (*KINDS, "colours", "count")
        ]
        rows.append([solver, f"{found['nfe']:g}", f"{scale:g}" if scale else "none", *rates])
    page.plain(
        "prompts",
        "Pictures that show what their prompt says",
        [
            f"{PROMPTS} held-out captions, one picture each, seeds 0 to {PROMPTS - 1}. A picture "
            "counts where the verifier reads from it all that the caption says, and no object "
            "more; tests hold it to 98.5 % of true pictures. *Colours*: every colour that is named "
            "is seen; *count*: as many objects as are named. The shipped weights are an early "
            "average, of 7,000 steps of 32 pictures: they know colours, not yet shapes. "
            "`sde-diffusion train experiment=shapes init=shapes` goes on from them.",
            render.markdown(["solver", "NFE", "scale of cfg", *KINDS, "colours", "count"], rows),
        ],
    )


if __name__ == "__main__":
    main()
