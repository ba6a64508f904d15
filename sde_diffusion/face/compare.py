"""A comparison of solvers from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sde_diffusion.config.options import Options
from sde_diffusion.errors import InputError
from sde_diffusion.face import values
from sde_diffusion.face.components import by_name, data_of, extractor_for, image_shape, opened_model
from sde_diffusion.face.guides import guides_of
from sde_diffusion.face.keywords import keywords
from sde_diffusion.face.pictures import reference_images, reference_set
from sde_diffusion.face.results import Results
from sde_diffusion.face.workplace import unknown_content, workplace
from sde_diffusion.metrics.extractors import Extractor
from sde_diffusion.models.opened import OpenedModel
from sde_diffusion.report import write_report
from sde_diffusion.sampling.execute import STATE_DTYPES, Execution
from sde_diffusion.system.devices import usable_device
from sde_diffusion.system.identity import Component, identity
from sde_diffusion.tasks.compare.cell import Cells
from sde_diffusion.tasks.compare.design import Budgets, Design, Entry, Setting, entered
from sde_diffusion.tasks.compare.study import Study
from sde_diffusion.tasks.run import provenance

TAKES = ("sde", "grid", "guidance", "noise", "extractor", "metrics")


@keywords(*TAKES)
def compare(
    model: OpenedModel | str | Path,
    solvers: Any = None,
    nfe: Any = (4, 6, 10),
    n: Any = 500,
    *,
    reference: Any = None,
    extractor: Any = None,
    metrics: Any = ("kid", "prdc"),
    label: Any = "all",
    prompts: str | Path | None = None,
    clip_score: str | Path | None = None,
    sde: Any = "edm",
    grid: Any = None,
    guidance: Any = (),
    noise: Any = "seeds",
    denoise_last: bool = False,
    repeats: int = 1,
    seed: int = 0,
    batch_size: int = 125,
    dtype: Any = "float32",
    device: Any = "cpu",
    animation: bool = True,
    folder: str | Path | None = None,
    progress: bool = True,
    **options: Any,
) -> Results:
    """Which solver, at how many evaluations? Their Fréchet distances, ranked on the same noise.

    Args:
        model: a model, or the name or path of a checkpoint.
        solvers: a list of objects (``Heun()``), names, {LABEL: object} or {LABEL: {"unipc":
            {"order": 3}}}; either with its evaluations beside it, ``(Heun(), [4, 8])``. None: the
            usual ones.
        nfe: numbers of network evaluations a sample, or {LABEL: numbers}. Adaptive solvers choose
            their own.
        n: number of images, or several, which are prefixes of one generation.
        reference: real images: a tensor or array [N, C, H, W], a folder, .zip, .npz, a data set, a
            ``ReferenceSet`` or its file; None: what is shipped for the extractor.
        extractor: of the features; None: by the model's data and the shape of the images,
            ``mnist-cnn`` for MNIST's.
        metrics: beside the Fréchet distance.
        label: a class, ``"all"`` (seed mod classes), one an image, or None.
        prompts: a file of sentences, one a line, for the images in turn.
        clip_score: the folder of a ``CLIPModel``: how well images fit these, ``ClipScore``.
        sde, guidance, noise, denoise_last: of all samplers, as for ``Model.sampler``.
        grid: one for all, in place of each solver's own, and of the one that the model brings.
        repeats: blocks of seeds, each of the largest ``n``. seed: of the first image.
        batch_size: rows at once. dtype: of the state, float32 or float64. device: of the model.
        animation: keep how the first images form, for ``save``.
        folder: where the report and the finished cells stay; the same call goes on from there.
        progress: draw a bar, and print a line a cell.
        options: fields of what is given by name: ``guidance__cfg__scale=2``.
    """
    opened, fields = opened_model(model), Options.of(options, TAKES)
    shared = Setting(
        fields.one("sde", sde),
        fields.one("noise", noise),
        by_name(guides_of(fields, guidance)),
        None if grid is None else fields.one("grid", values.levels_as_grid(grid)),
    )
    design = Design(
        samples=values.several("n", n, 2),
        repeats=values.whole("repeats", repeats, 1),
        seed=values.whole("seed", seed, 0),
        label=label,
        batch_size=values.whole("batch_size", batch_size, 1),
        denoise_last=values.truth("denoise_last", denoise_last),
        dtype=str(values.state_dtype(dtype)).removeprefix("torch."),
        device=str(usable_device(str(device))),
        animation=values.truth("animation", animation),
        prompts=None if prompts is None else str(prompts),
        clip_score=None if clip_score is None else str(clip_score),
    )
    entries = entered(shared, design, {"": opened}, listed(solvers), budgets(nfe))
    if grid is not None and all(entry.sampler.solver.grid for entry in entries):
        raise InputError("grid: each of these solvers has a grid of its own; leave it out")
    drawn = image_shape(opened)
    judge = extractor_for(fields, extractor, drawn, data_of(opened))
    measures = fields.several("metric", metrics, "metrics")
    real = reference_images(reference)
    judged = reference_set(reference, judge, real, drawn), measures
    asked = _asked(design, entries) | {"precision": opened.arithmetic}
    asked |= identity({"extractor": judge, "metric": measures})
    bar = values.truth("progress", progress)
    with workplace(folder, unknown_content(opened, asked)) as (output, kept):
        study = Study.of(design, entries, _cells(kept, judge, design), *judged)
        results = Results(study.run(output, provenance(opened, asked), bar))
        if folder is not None:
            write_report(output, results.comparison)
    return results


def _cells(folder: Path, extractor: Extractor, design: Design) -> Cells:
    run = Execution(design.batch_size, STATE_DTYPES[design.dtype], design.device)
    return Cells.of(folder / "cells", extractor, run, design)


def _asked(design: Design, entries: Sequence[Entry]) -> dict[str, Any]:
    """What the numbers depend on, as plain values."""
    return {
        "task": "compare",
        "solvers": {entry.label: dict(entry.identities) for entry in entries},
        "nfe": {entry.label: list(entry.nfe) for entry in entries},
        **identity(asdict(design)),
    }


def listed(solvers: Any) -> list[Any] | None:
    """The entries of a list; one that stands alone is a list of one."""
    if solvers is None:
        return None
    pair = isinstance(solvers, tuple) and len(solvers) == 2 and _is_budget(solvers[1])
    alone = isinstance(solvers, str | Component | Mapping | type)
    if pair or alone or not isinstance(solvers, Sequence):
        return [solvers]
    if not solvers:
        raise InputError("solvers=[]: give at least one")
    return list(solvers)


def _is_budget(value: Any) -> bool:
    """Whether it is a number of evaluations, or several, and no second solver."""
    return not isinstance(value, str | Component | Mapping | type)


def budgets(nfe: Any) -> Budgets:
    """Numbers of evaluations, or those of each label."""
    if isinstance(nfe, Mapping):
        return {str(k): values.several(f"nfe[{k}]", each, 1) for k, each in nfe.items()}
    return values.several("nfe", nfe, 1)
