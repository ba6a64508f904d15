"""Which solver, at how many network evaluations? FD against NFE on the shipped MNIST model."""

from __future__ import annotations

import statistics
from typing import Any

import dark
import page
import render

SOLVERS = ["ddim", "heun", "dpmpp_2m", "unipc", "deis", "ancestral", "calibrated"]
NFE = [4, 6, 8, 10]
SAMPLES = 1000
OVERRIDES = [
    f"solvers=[{','.join(SOLVERS)}]",
    f"nfe={NFE}".replace(" ", ""),
    f"samples=[{SAMPLES}]",
    "precision=bfloat16",
    "animation=false",
]
MARK = {None: "", False: "", True: " ≈"}


def sentence(ranking: dict[str, Any]) -> str:
    """The best at one NFE, those that may as well be, and what would tell them apart."""
    best, *others = ranking["standings"]
    alike = [s for s in others if s["alike"]]
    text = f"- NFE {ranking['nfe']:g}: **{best['solver']}**"
    if not alike:
        nearest = others[0]
        return (
            f"{text}, told apart from all others; the next is {nearest['solver']}, larger by "
            f"{nearest['difference']:.2g} [{nearest['low']:.2g}, {nearest['high']:.2g}]."
        )
    named = ", ".join(f"{s['solver']}{needed(s['settle'])}" for s in alike)
    return f"{text}; not distinguishable from it: {named}."


def needed(settle: int | None) -> str:
    """The samples that would settle it, to the two digits that such a guess is worth."""
    return "" if settle is None else f" (N ≈ {float(f'{settle:.2g}'):,.0f})"


def main() -> None:
    """Run, then write fd_vs_nfe.md, .csv, .png and that for dark pages."""
    rows = page.run("fd_vs_nfe", OVERRIDES, ["fd_vs_nfe"])
    dark.main()
    rankings = page.results("fd_vs_nfe")["rankings"]
    at = {(row["solver"], row["nfe_asked"]): row for row in rows}
    alike = {(s["solver"], r["nfe"]): s["alike"] for r in rankings for s in r["standings"]}
    best = {r["nfe"]: r["standings"][0]["solver"] for r in rankings}
    body = []
    for s in SOLVERS:
        cells = [f"{at[s, n]['fd']:.3g}{MARK[alike[s, n]]}" for n in NFE]
        body.append(
            [s, *(f"**{c}**" if best[n] == s else c for n, c in zip(NFE, cells, strict=True))]
        )
    half = statistics.median((row["fd_high"] - row["fd_low"]) / 2 for row in rows)
    facts = page.facts("fd_vs_nfe")
    page.write(
        "fd_vs_nfe",
        "FD against network evaluations",
        [
            f"Plug-in {facts['metric']} of {SAMPLES} samples, class labels in rotation, no "
            "guidance, network in bfloat16, each solver on its default grid (noise levels 80 to "
            "0.002), all on the same initial noise. The floor, as many real held-out images, is "
            f"{render.shown(rows[0]['floor'])}. Bold: the smallest bias-removed value at its NFE; "
            "≈: not distinguishable from it at this N.",
            "![FD against NFE](fd_vs_nfe.png)",
            render.markdown(["solver", *(f"NFE {n}" for n in NFE)], body),
            f"A bias-removed value by itself is known to about ± {half:.2g} at this N (median of "
            "the 95 % intervals; every one is in fd_vs_nfe.csv). The ranking is sharper than that: "
            "it stands on *paired* differences, sample k of all solvers from the same initial "
            f"noise. At each NFE: {rankings[0]['note']}. N ≈: so many samples would settle it, if "
            "the difference is what it seems.",
            "\n".join(sentence(ranking) for ranking in rankings),
        ],
        OVERRIDES,
        facts,
    )


if __name__ == "__main__":
    main()
