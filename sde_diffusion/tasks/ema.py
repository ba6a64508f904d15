"""``sde-diffusion ema``: the width of the EMA, chosen after training."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from tqdm import tqdm

from sde_diffusion.config.compose import build, read
from sde_diffusion.data.splits import both_splits
from sde_diffusion.errors import InputError
from sde_diffusion.models.file import load_denoiser
from sde_diffusion.process.noise import VERSION
from sde_diffusion.report.widths import loss_vs_width
from sde_diffusion.system.devices import usable_device
from sde_diffusion.system.provenance import machine
from sde_diffusion.system.resume import NOISE
from sde_diffusion.system.storage import write_atomically
from sde_diffusion.system.tracking import Tracker
from sde_diffusion.tasks.run import job
from sde_diffusion.training.compatible import check_fit
from sde_diffusion.training.posthoc import averages, stored
from sde_diffusion.training.validation import validation_losses

FORMAT = 1


@dataclass
class EmaTask:
    """Keys of the task."""

    checkpoint: str
    width: list[float]
    step: int | None
    noise_levels: int
    images: int
    device: str


def run(config: DictConfig, folder: Path) -> float:
    """Write a model a width and their losses into ``folder``; returns the least mean loss."""
    task = read(config, EmaTask)
    device = usable_device(task.device)
    if task.noise_levels < 2 or task.images < 1:
        raise InputError(
            f"noise_levels={task.noise_levels}, images={task.images}: give at least 2 and 1"
        )
    source = Path(task.checkpoint)
    spec = stored(source, task.step)[-1].spec
    _, held_out = both_splits(config)
    check_fit(spec, held_out)
    tracker: Tracker = build(config.tracker, "tracker", Tracker)
    rows: list[dict[str, Any]] = []
    with tracker:
        tracker.start(job(config, folder, [held_out.name]))
        made = averages(source, sorted(set(task.width)), task.step, folder)
        for number, (width, path) in enumerate(tqdm(made.items(), desc="ema", unit="width")):
            spec, denoiser = load_denoiser(path)
            losses = validation_losses(
                denoiser.to(device), held_out, task.noise_levels, task.images, device=device
            )
            mean = sum(losses.values()) / len(losses)
            parts = {f"sigma={sigma:.3g}": loss for sigma, loss in losses.items()}
            rows.append({"width": width, "loss": mean, **parts})
            tracker.log({"width": width, "loss": mean}, number)
        best = min(rows, key=lambda row: row["loss"])
        result = {
            "format": FORMAT, "checkpoint": task.checkpoint, "step": spec.step, "rows": rows,
            "best": best["width"], "data": held_out.name,
            "data_fingerprint": held_out.fingerprint, NOISE: VERSION, **machine(),
        }  # fmt: skip
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(folder / "widths.csv", text.getvalue().encode())
        write_atomically(folder / "widths.png", loss_vs_width(rows).png)
        write_atomically(folder / "result.json", json.dumps(result, indent=2).encode())
        tracker.table("widths", rows)
        tracker.image("widths", folder / "widths.png")
    for row in rows:
        mark = "  <- least" if row is best else ""
        print(f"width {row['width']:g}: loss {row['loss']:.5f}  ema-{row['width']:g}{mark}")
    print(f"step {spec.step}, {held_out.name}: {folder}")
    return float(best["loss"])
