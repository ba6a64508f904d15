"""``sde-diffusion interpolate``: images between images, along the probability flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from sde_diffusion.data import ImageSet, load_images, to_float, to_uint8
from sde_diffusion.denoisers.precision import recorded
from sde_diffusion.errors import InputError
from sde_diffusion.images.sheet import image_grid, png_bytes
from sde_diffusion.process.sde import SigmaMax, SigmaMin
from sde_diffusion.sampling.encode import ProbabilityFlow
from sde_diffusion.system.notice import notice
from sde_diffusion.system.ranges import Batch, Within
from sde_diffusion.system.resume import in_parts
from sde_diffusion.tasks.run import Run


@dataclass
class InterpolateTask:
    """Keys of the task."""

    checkpoint: str
    images: str
    pairs: Annotated[int, Within("1 <= pairs")]
    steps: Annotated[int, Within("2 <= steps <= 10000")]
    label: Any
    error: Annotated[float, Within("1e-9 <= error < 1")]
    sigma_min: SigmaMin | None
    sigma_max: SigmaMax | None
    batch_size: Batch
    precision: str
    channels_last: bool
    compile: bool
    device: str

    def load(self, channels: int) -> ImageSet:
        """The images in that many channels; InputError if they are too few for the pairs."""
        images = load_images(self.images, key="images")
        images = images.with_channels(channels, f"images={self.images}", "what the model draws")
        most = len(images) // 2
        if not 1 <= self.pairs <= most:
            remedy = f"give pairs={most}" if most else "give two images at least"
            raise InputError(
                f"pairs={self.pairs}: {len(images)} images make {most} pairs; {remedy}"
            )
        if 2 * self.pairs < len(images):
            notice(f"images: pairs of the first {2 * self.pairs} of {len(images)}, in their order")
        return images


def run(config: DictConfig, folder: Path) -> float:
    """Write the files into ``folder``; returns the largest error there and back of an end."""
    with Run(config, folder, InterpolateTask) as job:
        task, images = job.task, job.task.load(job.model.channels)
        chunk = max(1, job.execution.batch_size // max(1, task.steps))
        flow = ProbabilityFlow.build(job.denoiser, task.error, task.sigma_min, task.sigma_max)
        between = mixed(job, flow, images)
        job.begin()
        depends = dependencies(job, flow, images)
        drawn = in_parts(folder, depends, task.pairs, chunk, between, "interpolate")
        if job.helps:
            return 0.0
        pixels, error = drawn["images"], drawn["error"]
        worst = float(error.max())
        job.output.arrays(
            "interpolation.npz", images=pixels.permute(0, 1, 3, 4, 2).numpy(), error=error.numpy()
        )
        job.result(
            {
                "loaded": images.described,
                "images_fingerprint": images.fingerprint,
                "error_there_and_back": {"largest": worst, "median": float(error.median())},
                "evaluations_a_pair": float(drawn["evaluations"].mean()),
                "seconds": job.seconds,
            }
        )
        job.output.log({"error": worst})
        job.output.picture("grid.png", lambda: sheet(pixels))
    several = f"{task.pairs} pair{'s' * (task.pairs > 1)}"
    print(f"{several}, RMS error there and back at most {worst:.2g}: {folder}")
    return worst


def dependencies(
    job: Run[InterpolateTask], flow: ProbabilityFlow, images: ImageSet
) -> dict[str, Any]:
    """What the images between the ends depend on."""
    task = job.task
    return {
        "images": images.fingerprint,
        "model": job.model.fingerprint,
        "steps": task.steps,
        "label": task.label,
        "error": task.error,
        "precision": recorded(task.precision),
        "sigma": [flow.sigma_min, flow.sigma_max],
        "guidance": job.recorded().get("guidance"),
    }


def mixed(
    job: Run[InterpolateTask], flow: ProbabilityFlow, images: ImageSet
) -> Callable[[slice], dict[str, Tensor]]:
    """What is made of some of the pairs: images between their ends [N, steps, C, H, W] uint8, the
    RMS error there and back of the states of both ends [N, 2], and evaluations [N]."""
    task, cond = job.task, job.condition(range(job.task.pairs))
    codec = job.model.codec.to(job.device)
    pictures = to_float(images.images[: 2 * task.pairs]).to(job.device)
    ends = codec.encode(pictures).to(torch.float64)

    def between(rows: slice) -> dict[str, Tensor]:
        before = flow.denoiser.evaluations
        a, b = ends[0::2][rows], ends[1::2][rows]
        part = None if cond is None else cond[rows]
        x = flow.interpolate(a, b, task.steps, part, task.batch_size)
        spent = torch.full((len(a),), (flow.denoiser.evaluations - before) / len(a))
        back = torch.stack([x[:, 0] - a, x[:, -1] - b], 1).flatten(2).square().mean(2).sqrt()
        drawn = codec.decode(x.flatten(0, 1)).unflatten(0, (-1, task.steps))
        return {"images": to_uint8(drawn).cpu(), "error": back.cpu(), "evaluations": spent}

    return between


def sheet(pixels: Tensor) -> bytes:
    """A PNG with a row a pair."""
    return png_bytes(image_grid(pixels.flatten(0, 1), columns=pixels.shape[1]))
