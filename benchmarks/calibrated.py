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
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import page
import render
import torch
from calibrated_cases import CALLS, FOLDER, SIGMA, Case, cases
from calibrated_text import TEXT, TRIED
from safetensors.torch import load_file, save
from torch import Tensor

from sde_diffusion.calibration import trajectories
from sde_diffusion.calibration.baselines import ALL, standard_ends
from sde_diffusion.data import to_uint8
from sde_diffusion.images.sheet import image_grid
from sde_diffusion.metrics.extractors.cnn import CnnExtractor
from sde_diffusion.metrics.frechet import Reference, frechet_distance
from sde_diffusion.metrics.judge import Judge
from sde_diffusion.metrics.reference import ReferenceSet
from sde_diffusion.metrics.stats import FeatureStats
from sde_diffusion.process.sde import EDM
from sde_diffusion.sampling.execute import Execution
from sde_diffusion.sampling.sampler import Request, Sampler
from sde_diffusion.solvers.calibrated.file import Calibration
from sde_diffusion.solvers.calibrated.solver import Calibrated
from sde_diffusion.system.provenance import machine
from sde_diffusion.system.storage import asset, fingerprint, write_atomically

DOUBLE = (12,)  # beside 4, 5, 6 calibrated: twice as many, standard
BLOCKS = 3
LEADING = 48  # principal components that the Frechet distance sees
NODES = 64  # evaluations of what is called converged
CONFIRMED = 1  # of the pairs that lead on the first noises by each score, measured on all
T_95 = 4.303  # of Student's t with two degrees of freedom


def kept(path: Path, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """What ``make`` gives, made once."""
    if not path.is_file():
        write_atomically(path, save({k: v.contiguous() for k, v in make().items()}))
    return load_file(path)


def seeds_of(case: Case, block: int) -> range:
    """Apart from those of the calibration, which are from 1,000,000 on."""
    return range(case.noises * block, case.noises * (block + 1))


def converged(case: Case, block: int) -> Tensor:
    seeds = seeds_of(case, block)

    def make() -> dict[str, Tensor]:
        cond = case.condition(seeds)
        parts = []
        for first in range(0, len(seeds), 100):
            rows = slice(first, first + 100)
            own = None if cond is None else cond[rows]
            parts.append(trajectories(case.denoiser, seeds[rows], own, NODES, *SIGMA, 100).images)
        return {"x": torch.cat(parts)}

    return kept(FOLDER / case.draws / f"converged-{block}.safetensors", make)["x"]


def standard(case: Case, block: int, calls: int, pairs: Sequence[tuple[str, str]],
             n: int) -> dict[tuple[str, str], Tensor]:  # fmt: skip
    """Images of the first ``n`` noises of a block by some standard solvers."""
    seeds = seeds_of(case, block)[:n]
    found = {}
    for pair in pairs:
        name = "-".join([*pair, str(calls), str(block), str(n)])
        drawn = kept(
            FOLDER / case.draws / f"{name}.safetensors",
            lambda pair=pair: {
                "-".join(k): v
                for k, v in standard_ends(
                    case.denoiser, seeds, case.condition(seeds), calls, *SIGMA, [pair], 100
                ).items()
            },
        )
        if drawn:  # Heun buys no whole step with an odd number of calls
            found[pair] = next(iter(drawn.values()))
    return found


def calibrated(case: Case, block: int, calls: int, n: int | None = None) -> Tensor:
    path = case.calibration()
    solver = Calibrated(str(path), allow_other_model=Calibration.load(path).model == "")
    seeds = seeds_of(case, block)[:n]

    def make() -> dict[str, Tensor]:
        sampler = Sampler.build(EDM(), case.denoiser, solver, None)
        nfe = calls * case.denoiser.cost
        return {"x": sampler.sample(Request(seeds, nfe, case.condition(seeds)), Execution(100)).x}

    name = f"calibrated-{fingerprint(path)}-{calls}-{block}-{len(seeds)}"
    return kept(FOLDER / case.draws / f"{name}.safetensors", make)["x"]


def leading(case: Case) -> tuple[Tensor, Tensor]:
    """Mean and 48 leading components of all converged images."""
    x = torch.cat([converged(case, block) for block in range(BLOCKS)]).flatten(1).double()
    _, _, v = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    return x.mean(0), v[:LEADING].T


def scores(x: Tensor, exact: Tensor, basis: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """Relative RMSE of the trajectories' ends; Frechet distance over the total variance."""
    flat, true = (v.flatten(1).double() for v in (x, exact))
    rmse = float((flat - true).norm() / (true - true.mean(0)).norm())
    made, wanted = (FeatureStats.of((v - basis[0]) @ basis[1]) for v in (flat, true))
    total = float(wanted.cov.trace())
    return rmse, frechet_distance(made, Reference.from_stats(wanted)).value / total


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


def best(row: dict[str, Any], k: int) -> tuple[str, list[float]]:
    """The standard solver that leads in score k on all blocks, and its values."""
    values = {pair: [block[k] for block in blocks] for pair, blocks in row["standard"].items()}
    name = min(values, key=lambda pair: statistics.fmean(values[pair]))
    return name, values[name]


def shown(values: Sequence[float]) -> str:
    mean, half = interval(values)
    return f"{mean:.3g} ± {half:.2g}"


def cells(row: dict[str, Any]) -> list[str]:
    """Best standard, calibrated and ratio, for RMSE and Frechet."""
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


def on_features(case: Case, found: dict[str, Any]) -> list[list[str]]:
    """FD[mnist-cnn] of all blocks against real images, with intervals."""
    extractor = CnnExtractor("mnist-cnn")
    reference = ReferenceSet.load(asset("mnist-cnn-reference"), extractor)
    judge = Judge(reference.reference, reference.features)
    seeds = [s for b in range(BLOCKS) for s in seeds_of(case, b)]
    cond = case.condition(seeds)
    strata = None if cond is None else cond.parts["label"].value

    def fd(parts: Sequence[Tensor]) -> str:
        features = extractor(to_uint8(torch.cat(list(parts))))
        row = judge.rows(features, [len(features)], strata)[0]
        low = (
            " (plug-in)"
            if row["fd_low"] is None
            else (f" [{row['fd_low']:.3g}, {row['fd_high']:.3g}]")
        )
        value = row["fd"] if row["fd_debiased"] is None else row["fd_debiased"]
        return f"{value:.3g}{low}"

    rows = [["converged", fd([converged(case, b) for b in range(BLOCKS)]), ""]]
    for calls in CALLS:
        if "calibrated" not in found[str(calls)]:
            continue
        name, _ = best(found[str(calls)], 1)
        solver, _, grid = name.partition(" ")
        pair = (solver, grid)
        other = [standard(case, b, calls, [pair], case.noises)[pair] for b in range(BLOCKS)]
        own = fd([calibrated(case, b, calls) for b in range(BLOCKS)])
        rows.append([str(calls), own, f"{fd(other)} ({name})"])
    return rows


def picture(case: Case, found: dict[str, Any]) -> None:
    """Rows of the same seeds at 5 evaluations: converged, calibrated, three standard solvers."""
    ranked = found["5"]["ranked"]
    names: list[str] = []
    for name in sorted(ranked, key=lambda name: ranked[name][0]):
        if all(name.split()[0] != other.split()[0] for other in names):
            names.append(name)
    chosen = [*names[:3], "ddim karras"]
    rows = {"converged": converged(case, 0)[:12], "calibrated": calibrated(case, 0, 5)[:12]}
    for name in dict.fromkeys(chosen):
        solver, _, grid = name.partition(" ")
        pair = (solver, grid)
        rows[name.replace(" ", "\n")] = standard(case, 0, 5, [pair], case.picked)[pair][:12]
    image = np.asarray(image_grid(to_uint8(torch.cat(list(rows.values()))), columns=12))
    figure, axes = plt.subplots(figsize=(8, 0.62 * len(rows)))
    axes.imshow(image, cmap="gray", interpolation="nearest")
    height = image.shape[0] / len(rows)
    axes.set_yticks([height * (k + 0.5) for k in range(len(rows))], list(rows), fontsize=8)
    axes.set_xticks([])
    axes.tick_params(length=0)
    figure.tight_layout(pad=0.3)
    figure.savefig(page.HERE / "calibrated.png", dpi=130, bbox_inches="tight")
    plt.close(figure)


def section(case: Case, found: dict[str, Any]) -> list[str]:
    """The table of one case."""
    head = ["calls", "RMSE, best standard", "calibrated", "ratio", "Frechet, best standard",
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
    parts.append("Frechet distance, half against whole: " + "; ".join(twice) + ".")
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
                ["calls", "FD[mnist-cnn], calibrated", "best standard (of Frechet above)"],
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
