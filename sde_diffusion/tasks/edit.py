"""``sde-diffusion edit``: what is missing of pictures, or was done to them, drawn several times."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from omegaconf import DictConfig
from torch import Tensor

from sde_diffusion.config.choices import seed_list
from sde_diffusion.config.compose import build
from sde_diffusion.data.photos import fit_choice, masks, measurement, photos
from sde_diffusion.denoisers.space import Space
from sde_diffusion.errors import InputError
from sde_diffusion.images.photo import WHITE_8
from sde_diffusion.images.pixels import to_uint8
from sde_diffusion.images.sheet import image_rows, png_bytes
from sde_diffusion.operators import Operator
from sde_diffusion.process.noise import VERSION, seed_array
from sde_diffusion.sampling.damaged import Damaged
from sde_diffusion.sampling.edit import CELL, Edited, Editor
from sde_diffusion.sampling.sampler import Request
from sde_diffusion.system.ranges import Batch, Within
from sde_diffusion.system.resume import NOISE
from sde_diffusion.tasks.composed import guided, sampler_of, with_operator
from sde_diffusion.tasks.drawn import content_of
from sde_diffusion.tasks.drawn_edits import Edits
from sde_diffusion.tasks.run import Run

DRAWS = 4
SHOWN = 12  # pictures that the sheet has


@dataclass
class EditTask:
    """Keys of the task."""

    checkpoint: str
    image: str
    mask: str | None
    extend: list[int] | int | None
    simulate: bool
    fit: str | None
    n: Annotated[int, Within("1 <= n <= 10000")] | None
    seeds: Any
    strength: Annotated[float, Within("0 < strength <= 1")]
    nfe: Annotated[int, Within("1 <= nfe <= 1000000")] | None
    label: Any
    prompt: Any
    negative: Any
    batch_size: Batch
    denoise_last: bool
    dtype: str
    precision: str
    channels_last: bool
    compile: bool
    device: str


def run(config: DictConfig, folder: Path) -> float:
    """Write samples, mean and deviations of each picture; returns the mean misfit."""
    with Run(config, folder, EditTask) as job:
        edits = edits_of(job, folder)
        edits.check()
        job.begin()
        edits.draw()
        if job.helps:
            return 0.0
        edited, operator = edits.edited(), edits.editor.operator
        for name, one in edited.items():
            for file, content in one.files(name).items():
                job.output.write(file, content)
            job.output.arrays(f"{name}.npz", **arrays(one))
        misfit = sum(float(one.misfit.mean()) for one in edited.values()) / len(edited)
        unit = "of the noise" if operator.noise else "of the picture, -1 .. 1"
        each = {name: facts(one) for name, one in edited.items()}
        job.result({"misfit": misfit, "misfit_unit": unit, "pictures": each})
        job.output.log({"misfit": misfit})
        job.output.picture("grid.png", lambda: sheet(list(edited.values()), operator))
        job.discard(edits.folder)
    print(f"{said(list(edited.values()))}, misfit {misfit:.3g}: {folder}")
    return misfit


def edits_of(job: Run[EditTask], folder: Path) -> Edits:
    """What the job draws."""
    task, seeds = job.task, seed_list(job.task.seeds, draws(job.task))
    request = Request(seeds, task.nfe, job.condition(seeds)).distinct()
    editor = editor_of(job)
    depends = {
        **job.recorded("tracker", "channels_last", "compile"),
        "model": job.model.fingerprint,
        "cond": content_of(request.cond),
        NOISE: VERSION,
    }
    pictures = given(task, editor)
    parts = folder / "parts"
    return Edits(parts, depends, editor, pictures, request, task.strength, job.execution)


def said(edited: list[Edited]) -> str:
    """How much was drawn and, where the truth is known, how near it is: means over pictures."""
    pictures, draws = len(edited), len(edited[0].x)
    many = f"{pictures} picture{'s' * (pictures > 1)}, {draws} sample{'s' * (draws > 1)} each"
    near = [one.psnr for one in edited if one.psnr is not None]
    if not near:
        return many
    of_draws = sum(sum(values[:-1]) / draws for values in near) / len(near)
    of_mean = sum(values[-1] for values in near) / len(near)
    return f"{many}, PSNR {of_draws:.1f} dB, of their mean {of_mean:.1f} dB"


def draws(task: EditTask) -> int | None:
    """How many samples were asked for; None where the seeds say it."""
    return DRAWS if task.n is None and task.seeds is None else task.n


def editor_of(job: Run[EditTask]) -> Editor:
    """What draws, of the model and the groups operator, method, solver and guidance."""
    operator: Operator = build(job.config.operator, "operator", Operator)
    config, model = with_operator(job.config), job.model
    if job.task.negative is not None and not guided(config, model.denoiser).asks_empty:
        raise InputError(
            f"negative={job.task.negative}: nothing leads away from it; add cfg to guidance=[...], "
            "or leave it out"
        )
    return Editor(model.denoiser, operator, lambda inner: sampler_of(config, inner, model.grid))


def given(task: EditTask, editor: Editor) -> dict[str, tuple[Damaged, int]]:
    """What is known of each picture, and the white of its grey levels, by name."""
    space, seed = editor.denoiser.space, 0 if task.simulate else None
    fit, size = fit_choice(task.fit), None
    if task.fit is not None:
        size = square(space)
    y = measurement(task.image)
    if y is not None:
        if task.mask is not None or task.fit is not None:
            raise InputError("image: a .npy is measured already; leave mask and fit out")
        return {Path(task.image).stem: (damaged(task, editor, y, None, seed), WHITE_8)}
    channels = editor.operator.seen(space.pattern[0] or 1) if seed is None else space.pattern[0]
    read = photos(task.image, "image", channels or 1, size, fit)
    anew = masks(task.mask, read, size, fit)
    return {
        name: (damaged(task, editor, one.x, anew[name], seed), one.white)
        for name, one in read.items()
    }


def damaged(
    task: EditTask, editor: Editor, x: Tensor, anew: Tensor | None, seed: int | None
) -> Damaged:
    space = editor.denoiser.space
    return Damaged.of(editor.operator, x, space, anew, task.extend or (), seed)


def square(space: Space) -> int:
    """The side of the model's pictures; InputError where they are not square, or of any size."""
    _, height, width = space.pattern
    if height is None or height != width:
        raise InputError("fit: the model has no one square size to fit to; leave it out")
    return height


def arrays(one: Edited) -> dict[str, np.ndarray]:
    """``images`` uint8 [n, H, W, C]; ``mean``, ``std`` float32 [H, W, C]; ``measurement``; and of
    a mask ``known`` [H, W]."""
    kept = {} if one.damaged.known is None else {"known": one.damaged.known.numpy() > 0}
    return {
        "images": one.images.permute(0, 2, 3, 1).numpy(),
        "mean": one.mean.permute(1, 2, 0).float().numpy(),
        "std": one.std.permute(1, 2, 0).float().numpy(),
        "measurement": one.damaged.y.numpy(),
        "seeds": seed_array(one.samples.seeds),
        NOISE: np.array(VERSION),
        **kept,
    }


def facts(one: Edited) -> dict[str, Any]:
    """What result.json says of one picture."""
    kept = one.damaged.known
    return {
        "shape": list(one.damaged.shape),
        "misfit": one.misfit.tolist(),
        "drawn_anew": None if kept is None else float(1 - kept.mean()),
        "largest_deviation": float(one.std.mean(0).max()),
        "psnr": None if one.psnr is None else {"draws": one.psnr[:-1], "mean": one.psnr[-1]},
        "nfe": one.samples.nfe,
        "backward_passes": one.samples.backward_passes,
        "tiles": one.tiles,
        "seconds": one.samples.seconds,
    }


def sheet(edited: list[Edited], operator: Operator) -> bytes:
    """A PNG with a row a picture: the truth, if it is known, what was measured, the draws, their
    mean and deviations."""
    rows = []
    for one in edited[:SHOWN]:
        before = [one.damaged.truth, one.damaged.seen(operator)]
        seen = [to_uint8(each) for each in before if each is not None]
        rows.append([*seen, *one.pictures])
    return png_bytes(image_rows(rows, CELL))
