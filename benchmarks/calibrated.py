"""What are few evaluations worth when they are calibrated? Beside the best standard solver.

``python benchmarks/calibrated.py [CASE ...]``; each case keeps what it has drawn, and goes on.
The cases ``digits`` and ``digits-twin`` need ``sde-diffusion train experiment=digits
hydra.run.dir=outputs/digits``; ``mnist-twin`` needs the MNIST files, found as ``data=mnist`` does.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Callable, Sequence
from typing import Any

import render
import torch
from calibrated_cases import CALLS, FOLDER, Case, cases
from calibrated_drawn import BLOCKS, best, calibrated, converged, leading, scores, standard
from calibrated_picture import on_features, picture
from calibrated_text import TEXT, TRIED

from sde_diffusion.calibration.baselines import ALL
from sde_diffusion.solvers.calibrated.file import Calibration
from sde_diffusion.system.provenance import machine
from sde_diffusion.system.storage import write_atomically

DOUBLE = (12,)  # beside 4, 5, 6 calibrated: twice as many, standard
CONFIRMED = 1  # of the pairs that lead on the first noises by each score, measured on all
T_95 = 4.303  # of Student's t with two degrees of freedom


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half of its 95 % interval over the blocks."""
    half = T_95 * statistics.stdev(values) / math.sqrt(len(values))
    return statistics.fmean(values), half


def measure(case: Case) -> dict[str, Any]:
    """Scores [rmse, frechet] of the blocks, for the calibrated rule and the leading pairs."""
    basis = leading(case)
    found: dict[str, Any] = {}
    rules = Calibration.load(case.calibration()).rules
    for calls in (*CALLS, *DOUBLE):
        exact = [converged(case, block) for block in range(BLOCKS)]
        first = standard(case, 0, calls, ALL, case.picked)
        ranked = {pair: scores(x, exact[0][: case.picked], basis) for pair, x in first.items()}
        leaders = {
            pair for k in (0, 1)
            for pair in sorted(ranked, key=lambda pair: ranked[pair][k])[:CONFIRMED]
        }  # fmt: skip
        row: dict[str, Any] = {"standard": {}}
        row["ranked"] = {" ".join(pair): value for pair, value in ranked.items()}
        for pair in sorted(leaders):
            row["standard"][" ".join(pair)] = [
                scores(standard(case, b, calls, [pair], case.noises)[pair], exact[b], basis)
                for b in range(BLOCKS)
            ]
        if calls in rules:
            row["calibrated"] = [
                scores(calibrated(case, b, calls), exact[b], basis) for b in range(BLOCKS)
            ]
        found[str(calls)] = row
        print(case.name, calls, *cells(row), flush=True)
    return found


def shown(values: Sequence[float]) -> str:
    mean, half = interval(values)
    return f"{mean:.3g} ± {half:.2g}"


def cells(row: dict[str, Any]) -> list[str]:
    """Best standard, calibrated and ratio, for RMSE and Fréchet."""
    out = []
    for k in (0, 1):
        name, values = best(row, k)
        out.append(f"{shown(values)} ({name})")
        if "calibrated" in row:
            own = [block[k] for block in row["calibrated"]]
            ratios = [a / b for a, b in zip(own, values, strict=True)]
            out += [shown(own), f"**{interval(ratios)[0]:.2f}** ± {interval(ratios)[1]:.2g}"]
        else:
            out += ["-", "-"]
    return out


def section(case: Case, found: dict[str, Any]) -> list[str]:
    """The table of one case."""
    head = ["calls", "RMSE, best standard", "calibrated", "ratio", "Fréchet, best standard",
            "calibrated", "ratio"]  # fmt: skip
    rows = [[calls, *cells(row)] for calls, row in found.items()]
    parts = [f"## {case.title}",
             f"{BLOCKS} blocks of {case.noises} noises.", render.markdown(head, rows)]  # fmt: skip
    twice = []
    for n in (4, 5, 6):
        name, values = best(found[str(2 * n)], 1)
        own = [block[1] for block in found[str(n)]["calibrated"]]
        twice.append(
            f"{n} calibrated {shown(own)} against {2 * n} standard {shown(values)} ({name})"
        )
    parts.append("Fréchet distance, half against whole: " + "; ".join(twice) + ".")
    return parts


def main() -> None:
    """Measure the cases that are named (all of them if none is) and write the page."""
    known = cases()
    for name in sys.argv[1:] or known:
        case = known[name]()
        torch.manual_seed(0)
        result: dict[str, Any] = {"scores": measure(case), **machine()}
        if case.features:
            result["features"] = on_features(case, result["scores"])
        if name == "mnist":
            picture(case, result["scores"])
        write_atomically(FOLDER / f"{name}.json", json.dumps(result).encode())
    write_page(known)


def write_page(known: dict[str, Callable[[], Case]]) -> None:
    """benchmarks/calibrated.md, from the cases that are there."""
    text = ["# Calibrated few-step solvers", TEXT.strip()]
    for name, build in known.items():
        path = FOLDER / f"{name}.json"
        if not path.is_file():
            continue
        case, result = build(), json.loads(path.read_text())
        text += section(case, result["scores"])
        if "features" in result:
            text.append(render.markdown(
                ["calls", "FD[mnist-cnn], calibrated", "best standard (of Fréchet above)"],
                result["features"]))  # fmt: skip
        facts = {k: result[k] for k in ("machine", "date", "revision")}
        text.append(
            f"`python benchmarks/calibrated.py {name}`; {facts['machine']}; {facts['date']}, "
            f"revision {facts['revision']}."
        )
    text.append(TRIED.strip())
    render.written("calibrated", "\n\n".join(text) + "\n")


if __name__ == "__main__":
    main()
