"""``sde-diffusion sample``: images of chosen seeds from a model, with any solver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from sde_diffusion.config.choices import seed_list
from sde_diffusion.data.load import SAMPLES, SAMPLES_ZIP
from sde_diffusion.data.photos import photos
from sde_diffusion.data.prompts import prompt_lines
from sde_diffusion.errors import InputError
from sde_diffusion.models.opened import OpenedModel
from sde_diffusion.process.noise import VERSION
from sde_diffusion.sampling.sampler import Request, Sampler
from sde_diffusion.sampling.start import PRIOR, STRENGTH, Start, image_start, of_each, unheard
from sde_diffusion.system.ranges import Batch, Within
from sde_diffusion.system.resume import NOISE
from sde_diffusion.system.sealed import first_checksum
from sde_diffusion.tasks.composed import sampler_of
from sde_diffusion.tasks.drawn import Drawing, content_of
from sde_diffusion.tasks.run import Run
from sde_diffusion.tasks.scored import Scorer


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
    embedded_guidance: float | None
    layout: str | None
    reference: str | None
    statistics: str | None
    start: str | None
    strength: Annotated[float, Within("0 < strength <= 1")] | None
    size: list[int] | int | None
    seamless: bool
    denoise_last: bool
    trajectory: bool
    animation: bool
    dtype: str
    precision: str
    channels_last: bool
    compile: bool
    device: str


def run(config: DictConfig, folder: Path, archived: int = 2**30) -> float:
    """Write samples.npz, grid.png and result.json into ``folder``; returns the measured NFE.

    More than ``archived`` bytes of images are samples.zip instead, a PNG each. With an
    ``extractor`` their Fréchet distance is measured too, and returned.
    """
    with Run(config, folder, SampleTask) as job:
        drawing = drawing_of(job, folder)
        scorer = Scorer.of(job, len(drawing.request.seeds))
        job.begin()
        drawn = drawing.draw()
        if job.helps:
            return 0.0
        if drawn.kind == "images" and drawn.numbers > archived:
            job.output.stream(SAMPLES_ZIP, drawn.write_zip)
        else:
            job.output.pieces(SAMPLES, drawn.arrays())
        figures = {"nfe": drawn.mean("nfe"), "seconds": drawn.seconds}
        if backward := drawn.mean("backward_passes"):
            figures["backward_passes"] = backward
        facts: dict[str, Any] = {}
        if scorer is not None:
            row = scorer.row(drawn, drawing.request.cond)
            figures["fd"], facts = row["fd"], scorer.facts(row)
        job.result({**figures, "n": len(drawn), NOISE: VERSION, **facts})
        job.output.log(figures)
        job.output.picture("grid.png", drawn.sheet)
        if job.task.animation:
            job.output.picture("animation.webp", drawn.animation)
        job.discard(drawing.folder)
    nfe, seconds = figures["nfe"], figures["seconds"]
    print(f"{drawn.count}, {nfe:g} evaluations each, {seconds:.1f} s: {folder}")
    if scorer is None:
        return nfe
    print(scorer.line(row))
    return float(row["fd"])


def drawing_of(job: Run[SampleTask], folder: Path) -> Drawing:
    """What the job draws; InputError for what cannot be drawn."""
    task = job.task
    x_0 = started(task, job.model)
    seeds = seed_list(task.seeds, count(task, x_0))
    model = sized(task, job.model, x_0)
    sampler = sampler_of(job.config, model.denoiser, model.grid).decoded_by(model.codec)
    cond = job.condition(seeds, sampler.denoiser.classes_of_guidance)
    start = start_at(x_0, task, sampler, seeds)
    request = Request(seeds, sampler.budget(task.nfe, start), cond, start).distinct()
    if task.animation:
        check_animation(sampler)
    check_negative(task, sampler)
    sampler.walk(request)
    sampler.tell_idle(request)
    depends = {
        **job.recorded("tracker", "extractor", "statistics"),
        "model": model.fingerprint,
        "denoiser": sampler.denoiser.identity,
        "rule": sampler.solver.content,
        "cond": content_of(cond),
        "pictures": "" if x_0 is None else first_checksum({"x_0": x_0}),
        NOISE: VERSION,
    }
    parts = folder / "parts"
    return Drawing(parts, depends, sampler, request, job.execution, task.trajectory, task.animation)


def started(task: SampleTask, model: OpenedModel) -> Tensor | None:
    """The pictures that sampling begins at [N, C, H, W], all of one size; None where there are
    none."""
    if task.start is None:
        if task.strength is not None:
            raise unheard(task.strength)
        return None
    read = photos(task.start, "start", model.channels)
    sizes = {tuple(one.levels.shape) for one in read.values()}
    if len(sizes) > 1:
        raise InputError(f"start={task.start}: pictures of several sizes; give those of one")
    return torch.stack([one.x for one in read.values()])


def start_at(x_0: Tensor | None, task: SampleTask, sampler: Sampler, seeds: Sequence[int]) -> Start:
    """Where each sample begins."""
    if x_0 is None:
        return PRIOR
    states = sampler.codec.encode(of_each(x_0, len(seeds)))
    strength = STRENGTH if task.strength is None else task.strength
    return image_start(states, strength, sampler.grid)


def count(task: SampleTask, x_0: Tensor | None) -> int | None:
    """How many images were asked for: ``n``, or one a picture, sentence or label that is listed;
    None of none."""
    if task.n is not None or task.seeds is not None:
        return task.n
    if task.prompts is not None:
        return len(prompt_lines(task.prompts))
    if x_0 is not None and len(x_0) > 1:
        return len(x_0)
    lists = [x for x in (task.label, task.prompt, task.negative) if isinstance(x, list) and x]
    return len(lists[0]) if lists else None


def sized(task: SampleTask, model: OpenedModel, x_0: Tensor | None) -> OpenedModel:
    """The model of pictures of the size that was asked for, or that they begin at."""
    sides = None if x_0 is None else list(x_0.shape[2:])
    asked = [task.size, task.size] if isinstance(task.size, int) else task.size
    if sides is not None and asked not in (None, sides):
        raise InputError(f"size={task.size}: the pictures of start have {sides}; leave size out")
    return model.sized(
        sides if asked is None else asked, task.seamless, "size" if sides is None else "start"
    )


def check_negative(task: SampleTask, sampler: Sampler) -> None:
    """InputError for what guidance is to lead away from, where there is no such guidance."""
    if task.negative is not None and not sampler.asks_empty:
        raise InputError(
            f"negative={task.negative}: nothing leads away from it; set guidance=[cfg], or leave "
            "it out"
        )


def check_animation(sampler: Sampler) -> None:
    """InputError where no steps of images can be shown."""
    if len(sampler.denoiser.shape) == 1:
        raise InputError("animation=true: this model draws vectors; leave it out")
    if sampler.solver.adaptive:
        raise InputError(
            "animation=true: this solver takes its own steps for each image; choose one of fixed "
            "steps, solver=unipc"
        )
