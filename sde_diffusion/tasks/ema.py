"""``sde-diffusion ema``: the width of the EMA, chosen after training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from omegaconf import DictConfig
from tqdm import tqdm

from sde_diffusion.codecs import PIXELS
from sde_diffusion.data.latents import encoded
from sde_diffusion.data.splits import both_splits
from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.models.file import load_denoiser
from sde_diffusion.models.sources.latents.autoencoder import codec_of
from sde_diffusion.models.sources.run_folder import FINISHED
from sde_diffusion.process.noise import VERSION
from sde_diffusion.report.widths import loss_vs_width
from sde_diffusion.system.bars import hidden
from sde_diffusion.system.ranges import Within
from sde_diffusion.system.resume import NOISE
from sde_diffusion.tasks.run import Run
from sde_diffusion.training.compatible import check_fit
from sde_diffusion.training.posthoc import averages, stored
from sde_diffusion.training.validation import validation_losses


@dataclass
class EmaTask:
    """Keys of the task."""

    checkpoint: str
    width: Annotated[list[float], Within("0.001 <= width <= 0.28")]
    step: Annotated[int, Within("0 <= step")] | None
    noise_levels: Annotated[int, Within("2 <= noise_levels <= 10000")]
    images: Annotated[int, Within("1 <= images")]
    device: str

    def __post_init__(self) -> None:
        if self.noise_levels < 2 or self.images < 1:
            raise InputError(
                f"noise_levels={self.noise_levels}, images={self.images}: give at least 2 and 1"
            )


def run(config: DictConfig, folder: Path) -> float:
    """Write a model a width and their losses into ``folder``; returns the least mean loss."""
    with Run(config, folder, EmaTask) as job:
        task, source = job.task, Path(job.task.checkpoint)
        spec = stored(source, task.step)[-1].spec
        _, held_out = both_splits(config)
        codec = codec_of(spec, source / FINISHED)
        if codec is not PIXELS:
            held_out = encoded(held_out, codec, job.device)
        check_fit(spec, held_out)
        job.begin(held_out.name)
        rows = []
        models = averages(source, sorted(set(task.width)), task.step, folder)
        bar = tqdm(models.items(), desc="ema", unit="width", disable=hidden())
        for number, (width, path) in enumerate(bar):
            rows.append({"width": width, **losses(job, path, held_out)})
            job.output.log({"width": width, "loss": rows[-1]["loss"]}, number)
        best = min(rows, key=lambda row: row["loss"])
        job.output.table("widths", rows)
        origin = {"data": held_out.name, "data_fingerprint": held_out.fingerprint, NOISE: VERSION}
        facts = {"checkpoint": task.checkpoint, "step": spec.step, "best": best["width"]}
        job.result({**facts, "rows": rows, **origin})
        job.output.picture("widths.png", lambda: loss_vs_width(rows).file("png"))
    for row in rows:
        mark = "  <- least" if row is best else ""
        print(f"width {row['width']:g}: loss {row['loss']:.5f}  ema-{row['width']:g}{mark}")
    print(f"step {spec.step}, {held_out.name}: {folder}")
    return float(best["loss"])


def losses(job: Run[EmaTask], path: Path, held_out: ImageSet) -> dict[str, Any]:
    """The mean loss of a model on held-out images, and that at each noise level."""
    _, denoiser = load_denoiser(path)
    levels = validation_losses(
        denoiser.to(job.device), held_out, job.task.noise_levels, job.task.images, device=job.device
    )
    parts = {f"sigma={sigma:.3g}": loss for sigma, loss in levels.items()}
    return {"loss": sum(levels.values()) / len(levels), **parts}
