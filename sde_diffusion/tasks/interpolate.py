"""``sde-diffusion interpolate``: images between images, along the probability flow."""

from __future__ import annotations

import io
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from sde_diffusion.config.choices import choice
from sde_diffusion.config.compose import build, plain, read
from sde_diffusion.data import load_images, to_float, to_uint8
from sde_diffusion.errors import InputError
from sde_diffusion.images.sheet import image_grid, png_bytes
from sde_diffusion.models.model import PRECISIONS, guided, load
from sde_diffusion.sampling.encode import ProbabilityFlow
from sde_diffusion.system.devices import usable_device
from sde_diffusion.system.resume import in_parts
from sde_diffusion.system.storage import write_atomically
from sde_diffusion.system.tracking import Tracker
from sde_diffusion.tasks.run import job, provenance

FORMAT = 1


@dataclass
class InterpolateTask:
    """Keys of the task."""

    checkpoint: str
    images: str
    pairs: int
    steps: int
    label: Any
    error: float
    sigma_min: float | None
    sigma_max: float | None
    batch_size: int
    precision: str
    device: str


def run(config: DictConfig, folder: Path) -> float:
    """Write the files into ``folder``; returns the largest error there and back of an end."""
    task = read(config, InterpolateTask)
    device = usable_device(task.device)
    images = load_images(task.images, key="images")
    if not 1 <= task.pairs <= len(images) // 2:
        raise InputError(f"pairs={task.pairs}: {len(images)} images make {len(images) // 2} pairs")
    if task.batch_size < 1:
        raise InputError(f"batch_size={task.batch_size}: give a number >= 1")
    model = load(task.checkpoint, PRECISIONS[choice("precision", task.precision, PRECISIONS)])
    model.denoiser.to(device)
    denoiser = guided(config, model.denoiser)
    flow = ProbabilityFlow.build(denoiser, task.error, task.sigma_min, task.sigma_max)
    cond = model.condition(task.label, range(task.pairs))
    ends = to_float(images.images[: 2 * task.pairs]).to(device, torch.float64)

    def between(rows: slice) -> dict[str, Tensor]:
        before = denoiser.evaluations
        a, b = ends[0::2][rows], ends[1::2][rows]
        part = None if cond is None else cond[rows]
        x = flow.interpolate(a, b, task.steps, part, task.batch_size)
        spent = torch.full((len(a),), (denoiser.evaluations - before) / len(a))
        there_and_back = torch.stack([x[:, 0] - a, x[:, -1] - b], 1).flatten(2).square().mean(2)
        return {"images": to_uint8(x).cpu(), "error": there_and_back.sqrt().cpu(),
                "evaluations": spent}  # fmt: skip

    start = time.perf_counter()
    depends = {
        "images": images.fingerprint, "model": model.fingerprint, "steps": task.steps,
        "label": task.label, "error": task.error, "precision": task.precision,
        "sigma": [flow.sigma_min, flow.sigma_max], "guidance": plain(config).get("guidance"),
    }  # fmt: skip
    tracker: Tracker = build(config.tracker, "tracker", Tracker)
    with tracker:
        tracker.start(job(config, folder))
        chunk = max(1, task.batch_size // task.steps)
        made = in_parts(folder, depends, task.pairs, chunk, between, "interpolate")
        pixels = made["images"]
        buffer = io.BytesIO()
        arrays = {"images": pixels.permute(0, 1, 3, 4, 2).numpy(), "error": made["error"].numpy()}
        np.savez_compressed(buffer, allow_pickle=False, format=np.array(FORMAT), **arrays)
        worst = float(made["error"].max())
        result = {
            "format": FORMAT,
            "images_fingerprint": images.fingerprint,
            "error_there_and_back": {"largest": worst, "median": float(made["error"].median())},
            "evaluations_a_pair": float(made["evaluations"].mean()),
            "seconds": time.perf_counter() - start,
            **provenance(model, config),
        }
        write_atomically(folder / "interpolation.npz", buffer.getvalue())
        picture = png_bytes(image_grid(pixels.flatten(0, 1), columns=task.steps))
        write_atomically(folder / "grid.png", picture)
        write_atomically(folder / "result.json", json.dumps(result, indent=2).encode())
        tracker.log({"error": worst}, 0)
        tracker.image("grid", folder / "grid.png")
    print(f"{task.pairs} pairs, RMS error there and back at most {worst:.2g}: {folder}")
    return worst
