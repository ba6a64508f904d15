"""``sde-diffusion export``: a model for others to run, as a folder, by ONNX or by torch alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from omegaconf import DictConfig

from sde_diffusion.config.command import typed_keys
from sde_diffusion.errors import InputError
from sde_diffusion.images.sheet import png_bytes
from sde_diffusion.models.card import check_hub, figures_of, save_hub
from sde_diffusion.models.graph import SUFFIXES, Written, save_graph
from sde_diffusion.models.opened import OpenedModel
from sde_diffusion.models.sources import checkpoint as checkpoints
from sde_diffusion.models.sources.run_folder import FINISHED
from sde_diffusion.sampling.sampler import Request
from sde_diffusion.system.ranges import Batch, OneOf, Within
from sde_diffusion.system.storage import asset
from sde_diffusion.tasks.composed import sampler_of
from sde_diffusion.tasks.run import Run

HUB = "hub"


# How the pictures of the card are drawn.
DRAWING = ("sde", "solver", "grid", "guidance", "noise", "nfe", "denoise_last", "batch_size")


@dataclass
class ExportTask:
    """Keys of the task."""

    checkpoint: str
    source: dict[str, Any] | None
    output: str
    format: Annotated[str, OneOf(HUB, *SUFFIXES)]
    figures: list[str]
    license: str | None
    samples: Annotated[int, Within("0 <= samples <= 256")]
    nfe: Annotated[int, Within("1 <= nfe <= 1000000")] | None
    batch_size: Batch
    denoise_last: bool
    device: str

    def __post_init__(self) -> None:
        written = {suffix: name for name, suffix in SUFFIXES.items()}
        suffix = Path(self.output).suffix
        if self.format == HUB and suffix in written:
            raise InputError(
                f"output={self.output}: format=hub writes a folder; give format={written[suffix]}, "
                "or a name without that ending"
            )
        for key in ("figures", "license"):
            value = getattr(self, key)
            if self.format != HUB and value:
                raise InputError(f"{key}={value}: is for format=hub; leave it out")
        vain = [key for key in (*DRAWING, "samples") if key in typed_keys()]
        if self.format != HUB and vain:
            raise InputError(f"{vain[0]}: of the pictures of format=hub; leave it out")
        if not self.samples and vain and vain[0] != "samples":
            raise InputError(f"{vain[0]}: of pictures, and samples=0; leave one of the two out")


def run(config: DictConfig, folder: Path) -> float:
    """Write ``output``, and result.json into ``folder``; returns how far a graph is from the model.

    That is the largest difference over the largest value; 0 for a folder of the same weights.
    """
    with Run(config, folder, ExportTask) as job:
        model, path, task = job.model, Path(job.task.output), job.task
        written = Written(0.0)
        if task.format == HUB:
            check_hub(model, path)
            figures = [figures_of(Path(each), model.fingerprint) for each in task.figures]
            job.begin()
            drawn = picture(job, model) if task.samples else None
            save_hub(model, path, figures, drawn, task.license, weights_of(task.checkpoint))
        else:
            job.begin()
            written = save_graph(model, path, task.format)
        job.result({"output": path.name, "format": task.format, **written._asdict()})
    rows = "" if written.rows is None else f", at most {written.rows} rows at once"
    within = "" if task.format == HUB else f": within {written.difference:.1e} of the model{rows}"
    print(f"{path}{within}")
    return written.difference


def weights_of(checkpoint: str) -> Path | None:
    """The file of ours that a checkpoint names, itself or as a finished run's folder."""
    path = asset(checkpoint)
    path = path / FINISHED if path.is_dir() else path
    return path if checkpoints.recognised(path) else None


def picture(job: Run[ExportTask], model: OpenedModel) -> tuple[str, bytes]:
    """Samples of the model, and how they were drawn."""
    sampler = sampler_of(job.config, model.denoiser, model.grid).decoded_by(model.codec)
    seeds = range(job.task.samples)
    cond = model.condition({"label": "all"}, seeds)
    request = Request(seeds, sampler.budget(job.task.nfe), cond)
    sampler.tell_idle(request)
    drawn = sampler.sample(request, job.execution)
    how = f"{type(sampler.solver).__name__}, {request.nfe} evaluations"
    return f"Samples of seeds 0 .. {len(seeds) - 1}, {how}", png_bytes(drawn.grid())
