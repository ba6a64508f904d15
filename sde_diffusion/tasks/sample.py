"""``sde-diffusion sample``: images of chosen seeds from a model, with any solver."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from omegaconf import DictConfig

from sde_diffusion.config.choices import seed_list
from sde_diffusion.errors import InputError
from sde_diffusion.images.sheet import png_bytes, shown
from sde_diffusion.process.noise import VERSION
from sde_diffusion.sampling.sampler import Request, Sampler, Watch
from sde_diffusion.sampling.samples import Samples
from sde_diffusion.system.ranges import Batch, Within
from sde_diffusion.system.resume import NOISE
from sde_diffusion.tasks.composed import sampler_of
from sde_diffusion.tasks.run import Run, prompt_lines

ANIMATED = 16


@dataclass
class SampleTask:
    """Keys of the task; ``nfe: null`` is 20 for a fixed-step solver, free for an adaptive one."""

    checkpoint: str
    n: Annotated[int, Within("1 <= n <= 1000000000")] | None
    seeds: Any
    batch_size: Batch
    nfe: Annotated[int, Within("1 <= nfe <= 1000000")] | None
    label: Any
    prompt: Any
    prompts: str | None
    negative: Any
    layout: str | None
    reference: str | None
    denoise_last: bool
    trajectory: bool
    animation: bool
    dtype: str
    precision: str
    device: str


def run(config: DictConfig, folder: Path) -> float:
    """Write samples.npz, grid.png and result.json into ``folder``; returns the measured NFE."""
    with Run(config, folder, SampleTask) as job:
        task = job.task
        seeds = seed_list(task.seeds, lines_of(task.prompts) if task.n is None else task.n)
        cond = job.condition(seeds)
        sampler = sampler_of(config, job.model.denoiser, job.model.grid)
        sampler = sampler.decoded_by(job.model.codec)
        if task.animation:
            check_animation(sampler)
        if task.negative is not None and not sampler.asks_empty:
            raise InputError(
                f"negative={task.negative}: nothing leads away from it; set guidance=[cfg], or "
                "leave it out"
            )
        job.begin()
        drawn = sampler.sample(
            Request(seeds, sampler.budget(task.nfe), cond),
            job.execution,
            Watch(task.trajectory, ANIMATED if task.animation else 0, "sample"),
        )
        drawn.check()
        job.output.arrays("samples.npz", **arrays(drawn))
        figures = {"nfe": drawn.nfe, "seconds": drawn.seconds}
        job.result({**figures, "n": len(seeds), NOISE: VERSION})
        job.output.log(figures)
        job.output.picture("grid.png", lambda: png_bytes(shown(drawn.x)))
        if task.animation:
            job.output.picture("animation.webp", lambda: drawn.animation(".webp"))
    print(f"{len(seeds)} images, {drawn.nfe:g} evaluations each, {drawn.seconds:.1f} s: {folder}")
    return drawn.nfe


def lines_of(prompts: str | None) -> int | None:
    """How many sentences a file has; None of no file."""
    return None if prompts is None else len(prompt_lines(prompts))


def check_animation(sampler: Sampler) -> None:
    """InputError where no steps of images can be shown."""
    if len(sampler.denoiser.shape) == 1:
        raise InputError("animation=true: this model draws vectors; leave it out")
    if sampler.solver.adaptive:
        raise InputError(
            "animation=true: this solver takes its own steps for each image; choose one of fixed "
            "steps, solver=unipc"
        )


def arrays(drawn: Samples) -> dict[str, np.ndarray]:
    """``images`` uint8 [N, H, W, C], or of a model of vectors ``x`` float32 [N, d]; ``seeds``; and
    the ``trajectory`` at its ``times``, if it was kept."""
    vectors = drawn.x.ndim == 2
    tensors = {
        "x": drawn.x.float() if vectors else None,
        "images": None if vectors else drawn.images.permute(0, 2, 3, 1),
        "trajectory": drawn.trajectory,
        "times": drawn.times,
    }
    kept = {name: tensor.numpy() for name, tensor in tensors.items() if tensor is not None}
    return {**kept, "seeds": np.array(drawn.seeds), NOISE: np.array(VERSION)}
