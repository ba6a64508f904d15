"""Does a picture show what it was asked for? Verified rates of the shipped shapes model.

``python benchmarks/prompts.py [CHECKPOINT [PROMPTS]]``; each cell is done once for a revision.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import page
import prompts_patches
import prompts_sides
import render

from sde_diffusion import load
from sde_diffusion.data.shapes.source import Shapes
from sde_diffusion.data.shapes.verifier import agrees, read
from sde_diffusion.data.shapes.vocabulary import HELD_OUT, PATTERNED
from sde_diffusion.data.shapes.wording import parsed

MANY, FEW = 1000, 200
KARRAS = "dpmpp_2m_sde karras"  # a name with a grid is one of sampler=
MAIN = [("unipc", 40, 2.0), ("unipc", 40, 3.0), (KARRAS, 80, 3.0)]
SCALES = [("unipc", 40, scale) for scale in (1.5, 2.0, 3.0, 5.0)]
SOLVERS = [
    *((s, nfe, 2.0) for s in ("ddim", "heun", "dpmpp_2m", "unipc") for nfe in (8, 12, 20, 32)),
    *(("calibrated", nfe, 2.0) for nfe in (8, 12, 20)),
]
NOISY = [
    ("unipc", 80, 3.0),
    *((s, nfe, 3.0) for s in (KARRAS, "ancestral") for nfe in (40, 80, 160)),
]
OUTPUTS = page.HERE.parent / "outputs" / "benchmark-prompts"
KINDS = ("one object", "two", "two with a relation", "three", "pairs never seen")
THINGS = ("colours", "shapes", "count")
Z = 1.96


def prompts(n: int) -> list[str]:
    """Held-out captions that name no reference patch."""
    captions = Shapes(split="test", held_out=3 * n, seed=1).load().captions
    return [text for text in captions if PATTERNED not in text][:n]


def cell(checkpoint: str, n: int, solver: str, nfe: int, scale: float) -> dict[str, Any]:
    """What share of the pictures is read as its prompt says, and what share of things."""
    texts = prompts(n)
    given = {"guidance": "cfg", "guidance__cfg__scale": scale} if scale else {}
    given["sampler" if " " in solver else "solver"] = solver
    drawn = load(checkpoint, precision="bfloat16").sample(
        nfe=nfe, seeds=range(n), prompt=texts, **given
    )
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for text, seen in zip(texts, read(drawn.images), strict=True):
        said = parsed(text)
        assert said is not None
        kinds = [("one object", "two", "three")[len(said.things) - 1]]
        kinds += [KINDS[2]] * (kinds[0] == "two" and bool(said.relations))
        kinds += [KINDS[4]] * any((t.shape, t.colour) in HELD_OUT for t in said.things)
        colours = {t.colour for t in said.things if t.colour}
        shapes = {t.shape for t in said.things if t.shape}
        for kind in (*kinds, *["colours"] * bool(colours), *["shapes"] * bool(shapes), "count"):
            total[kind] += 1
            right[kind] += {
                "colours": colours <= {s.colour for s in seen},
                "shapes": shapes <= {s.shape for s in seen},
                "count": len(seen) == len(said.things),
            }.get(kind, agrees(said, seen))
    return {"solver": solver, "nfe": drawn.nfe, "scale": scale, "right": right, "total": total}


def rate(right: int, total: int) -> str:
    """A share with Wilson's 95 % interval, in per cent."""
    if not total:
        return "-"
    p, z2 = right / total, Z**2 / total
    middle, half = p + z2 / 2, Z * (p * (1 - p) / total + z2 / total / 4) ** 0.5
    low, high = (100 * (middle + sign * half) / (1 + z2) for sign in (-1, 1))
    return f"{100 * p:.1f} [{max(low, 0.0):.1f}, {high:.1f}]"


def rows(checkpoint: str, n: int, cells: list[tuple[str, int, float]]) -> str:
    """A table of cells."""
    lines = []
    for solver, nfe, scale in cells:
        found = page.once(
            OUTPUTS,
            f"{solver}-{nfe}-{scale:g}-{n}",
            lambda cell_=(solver, nfe, scale): cell(checkpoint, n, *cell_),
        )
        rates = [
            rate(found["right"].get(kind, 0), found["total"].get(kind, 0))
            for kind in (*KINDS, *THINGS)
        ]
        lines.append([solver, f"{found['nfe']:g}", f"{scale:g}" if scale else "none", *rates])
    return render.markdown(["solver", "NFE", "scale of cfg", *KINDS, *THINGS], lines)


def main() -> None:
    """Draw, read, write prompts.md."""
    checkpoint = sys.argv[1] if len(sys.argv) > 1 else "shapes"
    many = int(sys.argv[2]) if len(sys.argv) > 2 else MANY
    few = min(FEW, many)
    unguided = ("unipc", 20, 0.0)
    page.plain(
        "prompts",
        "Pictures that show what they were asked for",
        [
            f"{many} held-out captions, one picture each, seeds 0 to {many - 1}, the network's "
            "products in bfloat16. A picture counts "
            "where the verifier reads from it all that the caption says, and no object more; tests "
            "hold it to 98.5 % of true pictures. Per cent, with Wilson's 95 % intervals. *Pairs "
            "never seen*: shape and colour of one object never met in training. *Colours*, "
            "*shapes*: every one that is named is seen; *count*: as many objects as are named.",
            rows(checkpoint, many, MAIN),
            (page.HERE / "text" / "prompts.md").read_text().strip(),
            f"## Against guidance\n\nThe first {few} of them.",
            rows(checkpoint, few, [unguided, *SCALES]),
            f"## Against evaluations and solvers\n\nThe first {few} of them.",
            rows(checkpoint, few, SOLVERS),
            f"## Against noise on the way\n\nThe first {few} of them.",
            rows(checkpoint, few, NOISY),
            *prompts_sides.of_layouts(checkpoint, few // 2, OUTPUTS),
            *prompts_patches.section(checkpoint, few, OUTPUTS),
            *prompts_sides.left_open(checkpoint, few // 2, OUTPUTS),
        ],
    )


if __name__ == "__main__":
    main()
