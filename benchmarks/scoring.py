"""What does judging cost? The metrics part of a full comparison, with nothing left to sample."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import page
import render
import torch
from torch import Tensor

from sde_diffusion.config.compose import build, compose_task, read
from sde_diffusion.face.load import load
from sde_diffusion.metrics.extractors import Extractor
from sde_diffusion.metrics.references import reference_for
from sde_diffusion.system.provenance import machine
from sde_diffusion.tasks import compare
from sde_diffusion.tasks.compare.cell import SHOWN, Cell, save_cell
from sde_diffusion.tasks.compare.design import entered
from sde_diffusion.tasks.compare.plan import plans
from sde_diffusion.tasks.compare.task import CompareTask, setting

SOLVERS, NFE, BLOCKS = ["ddim", "heun", "dpmpp_2m", "unipc"], [4, 6, 8, 10, 16], 3
SAMPLES = [100, 200, 500, 1000, 2000, 5000]
OVERRIDES = [
    f"solvers=[{','.join(SOLVERS)}]",
    f"nfe={NFE}".replace(" ", ""),
    f"samples={SAMPLES}".replace(" ", ""),
    f"repeats={BLOCKS}",
]
TARGET = 60.0


def stand_in(held_out: Tensor, cell: int) -> Cell:
    """A finished cell: features of real images, jittered so that no two cells are alike."""
    generator = torch.Generator().manual_seed(cell)
    rows = torch.randperm(len(held_out), generator=generator)[: SAMPLES[-1]]
    features = held_out[rows].double()
    noise = torch.randn(features.shape, generator=generator, dtype=torch.float64)
    spread = features.std(0) * (0.02 + 0.01 * (cell % 20))
    images = torch.zeros(SHOWN, 1, 28, 28, dtype=torch.uint8)
    return Cell(features + spread * noise, images, float(NFE[cell % len(NFE)]), 1.0, machine())


def main() -> None:
    """Write every cell, time ``compare`` on them, write scoring.md."""
    config = compose_task(["task=compare", *OVERRIDES])
    task: CompareTask = read(config, CompareTask)
    extractor: Extractor = build(config.extractor, "extractor", Extractor)
    held_out = reference_for(extractor, None).held_out
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = {"": load("mnist-large")}
        entries = entered(setting(config), task, models, task.solvers, task.nfe)
        todo = plans(entries, task, extractor)
        for k, plan in enumerate(todo):
            save_cell(folder / "cells" / plan.name, stand_in(held_out, k), plan.depends)
        began, cpu = time.perf_counter(), time.process_time()
        compare.run(config, folder)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        pixels = (folder / "report.html").stat().st_size
    rows = len(todo) * len(SAMPLES)
    text = [
        f"`compare` on {len(SOLVERS)} solvers x {len(NFE)} NFE x {len(SAMPLES)} N x {BLOCKS} "
        f"blocks of seeds ({len(todo)} cells, {rows} rows) whose cells are all there, so that "
        "nothing is sampled: features are those of real held-out images with a jitter of their "
        "own. Timed: reading, the Fréchet curve, bias and interval by leave-one-out, KID, "
        "precision, recall, density and coverage of every row; means over blocks; paired ranks at "
        "every NFE; plots, tables and the page.",
        render.markdown(
            ["", "seconds"],
            [
                ["wall time", f"{seconds:.1f}"],
                ["processor time, which other processes do not lengthen", f"{cpu:.1f}"],
                ["target on 2 cores", f"{TARGET:.0f}"],
            ],
        ),
        f"The page of {rows} rows has {pixels / 1e6:.1f} MB.",
    ]
    model = load("mnist-large")
    facts = machine() | {
        "model": model.name, "model_fingerprint": model.fingerprint,
        "extractor": extractor.name, "extractor_fingerprint": extractor.fingerprint,
        "reference": "mnist-train", "reference_n": 60000, "seeds": "none",
    }  # fmt: skip
    page.write("scoring", "What judging costs", text, OVERRIDES, facts)


if __name__ == "__main__":
    main()
