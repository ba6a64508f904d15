"""The images of ``calibrated.py``: a picture of them, and their distance to real ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import page
import torch
from calibrated_cases import CALLS, Case
from calibrated_drawn import BLOCKS, best, calibrated, converged, seeds_of, standard
from torch import Tensor

from sde_diffusion.data import to_uint8
from sde_diffusion.images.sheet import image_grid
from sde_diffusion.metrics.extractors.cnn import CnnExtractor
from sde_diffusion.metrics.judge import Judge
from sde_diffusion.metrics.reference import ReferenceSet
from sde_diffusion.system.storage import asset


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
