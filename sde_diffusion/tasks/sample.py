"""``sde-diffusion sample``: images of chosen seeds from a model, with any solver."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from sde_diffusion.config.choices import choice
from sde_diffusion.config.compose import build, read
from sde_diffusion.errors import InputError
from sde_diffusion.images.sheet import png_bytes, shown
from sde_diffusion.models.model import DTYPES, PRECISIONS, build_sampler, load
from sde_diffusion.process.noise import VERSION
from sde_diffusion.sampling.execute import Execution
from sde_diffusion.sampling.sampler import Request, Watch
from sde_diffusion.sampling.samples import Samples
from sde_diffusion.system.devices import usable_device
from sde_diffusion.system.resume import NOISE
from sde_diffusion.system.storage import write_atomically
from sde_diffusion.system.tracking import Tracker
from sde_diffusion.tasks.run import job, provenance

FORMAT = 1
DEFAULT_NFE = 20
ANIMATED = 16


@dataclass
class SampleTask:
    """Keys of the task; ``nfe: null`` is 20 for a fixed-step solver, free for an adaptive one."""

    checkpoint: str
    n: int | None
    seeds: Any
    batch_size: int
    nfe: int | None
    label: Any
    denoise_last: bool
    trajectory: bool
    animation: bool
    dtype: str
    precision: str
    device: str


def parse_seeds(seeds: Any, n: int | None) -> list[int]:
    """``0-63``, ``5``, or a list of numbers; null means 0 .. n - 1."""
    if n is not None and n < 1:
        raise InputError(f"n={n}: give a number of images >= 1")
    if seeds is None:
        return list(range(64 if n is None else n))
    try:
        if isinstance(seeds, str):
            low, _, high = seeds.partition("-")
            numbers = list(range(int(low), int(high or low) + 1))
        else:
            numbers = [int(s) for s in (seeds if isinstance(seeds, list) else [seeds])]
    except (ValueError, TypeError) as error:
        raise InputError(f"seeds={seeds}: give 0-63, or a list [3,14,15]") from error
    if not numbers or min(numbers) < 0:
        raise InputError(f"seeds={seeds}: give at least one seed, none negative")
    if n is not None and n != len(numbers):
        raise InputError(f"n={n}: seeds={seeds} are {len(numbers)}; leave one of the two out")
    return numbers


def content(drawn: Samples) -> dict[str, np.ndarray]:
    """``images`` uint8 [N, H, W, C], or of a model of vectors ``x`` float32 [N, d]."""
    if drawn.x.ndim == 2:
        return {"x": drawn.x.float().numpy()}
    return {"images": drawn.images.permute(0, 2, 3, 1).numpy()}


def run(config: DictConfig, folder: Path) -> float:
    """Write samples.npz, grid.png and result.json into ``folder``; returns the measured NFE."""
    task = read(config, SampleTask)
    seeds = parse_seeds(task.seeds, task.n)
    device = usable_device(task.device)
    dtype = DTYPES[choice("dtype", task.dtype, DTYPES)]
    model = load(task.checkpoint, PRECISIONS[choice("precision", task.precision, PRECISIONS)])
    cond = model.condition(task.label, seeds)
    model.denoiser.to(device)
    sampler = build_sampler(config, model.denoiser)
    adaptive = sampler.solver.adaptive
    if task.animation and len(model.denoiser.shape) == 1:
        raise InputError("animation=true: this model draws vectors; leave it out")
    if task.animation and adaptive:
        raise InputError(
            "animation=true: this solver takes its own steps for each image; choose one of fixed "
            "steps, solver=unipc"
        )
    nfe = task.nfe if task.nfe is not None or adaptive else DEFAULT_NFE * sampler.denoiser.cost
    tracker: Tracker = build(config.tracker, "tracker", Tracker)
    with tracker:
        tracker.start(job(config, folder))
        drawn = sampler.sample(
            Request(seeds, nfe, cond),
            Execution(task.batch_size, dtype, device),
            Watch(task.trajectory, ANIMATED if task.animation else 0, "sample"),
        )
        arrays = {**content(drawn), "seeds": np.array(seeds), NOISE: np.array(VERSION)}
        if drawn.trajectory is not None and drawn.times is not None:
            arrays |= {"trajectory": drawn.trajectory.numpy(), "times": drawn.times.numpy()}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, format=np.array(FORMAT), **arrays)
        result = {
            "format": FORMAT,
            "nfe": drawn.nfe,
            "seconds": drawn.seconds,
            "n": len(seeds),
            NOISE: VERSION,
            **provenance(model, config),
        }
        write_atomically(folder / "samples.npz", buffer.getvalue())
        write_atomically(folder / "grid.png", png_bytes(shown(drawn.x)))
        write_atomically(folder / "result.json", json.dumps(result, indent=2).encode())
        tracker.log({"nfe": drawn.nfe, "seconds": drawn.seconds}, 0)
        tracker.image("grid", folder / "grid.png")
        if task.animation:
            drawn.save_animation(folder / "animation.webp")
            tracker.image("animation", folder / "animation.webp")
    print(f"{len(seeds)} images, {drawn.nfe:g} evaluations each, {drawn.seconds:.1f} s: {folder}")
    return drawn.nfe
