"""A finished cell of a comparison on disk, so that a killed run goes on where it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sde_diffusion.config.choices import choice
from sde_diffusion.errors import InputError
from sde_diffusion.metrics.extractors import Extractor
from sde_diffusion.models.model import DTYPES
from sde_diffusion.sampling.execute import Execution
from sde_diffusion.sampling.film import Film
from sde_diffusion.sampling.sampler import Request, Watch
from sde_diffusion.system import strict_json
from sde_diffusion.system.identity import identity
from sde_diffusion.system.notice import notice
from sde_diffusion.system.provenance import machine
from sde_diffusion.system.resume import NOISE
from sde_diffusion.system.sealed import Facts, SealedKind, Tensors, first_checksum
from sde_diffusion.tasks.compare.plan import CompareTask, Plan

SHOWN = 10
FILMED = 4
PART = 500  # images that a kill may cost
FILM = tuple(field.name for field in fields(Film))


def _first_cell(metadata: Mapping[str, str], tensors: Tensors) -> Facts:
    facts: Facts = strict_json.loads(metadata["sde_diffusion_cell"], finite=False)
    if facts["format"] != 2:
        raise ValueError(f"format {facts['format']}")
    if facts["checksum"] != first_checksum({name: tensors[name] for name in facts["tensors"]}):
        raise ValueError("its checksum is wrong")
    return facts


CELL = SealedKind("cell", 3, "run the same command again", _first_cell)


@dataclass(frozen=True)
class Cell:
    """What sampling one cell gave.

    Attributes:
        features: [N, d] float64 in seed order. images: the first of them, uint8.
        nfe: evaluations a sample, counted at the network. seconds: of the whole generation.
        made: revision, date and machine of the sampling. film: how the first images formed.
    """

    features: Tensor
    images: Tensor
    nfe: float
    seconds: float
    made: dict[str, str]
    film: Film | None = None

    @classmethod
    def join(cls, parts: Sequence[Cell]) -> Cell:
        """Consecutive samples, all parts but the last of at least ``SHOWN``."""
        sizes = [len(part.features) for part in parts]
        made = {
            # A cell that was begun by one revision or machine and ended by another names both.
            key: parts[-1].made[key] if key == "date"
            else "; ".join(dict.fromkeys(part.made[key] for part in parts))
            for key in parts[-1].made
        }  # fmt: skip
        return cls(
            torch.cat([part.features for part in parts]),
            torch.cat([part.images for part in parts])[:SHOWN],
            sum(n * part.nfe for n, part in zip(sizes, parts, strict=True)) / sum(sizes),
            sum(part.seconds for part in parts),
            made,
            parts[0].film,
        )


def save_cell(path: Path, cell: Cell, depends: Mapping[str, Any]) -> None:
    """Write a cell, whole or not at all, with what it depends on."""
    tensors = {"features": cell.features, "images": cell.images}
    if cell.film is not None:
        tensors |= {f"film_{name}": getattr(cell.film, name) for name in FILM}
    facts = {"nfe": cell.nfe, "seconds": cell.seconds, "made": cell.made, "depends": depends}
    CELL.write(path, tensors, facts)


def load_cell(path: Path, depends: Mapping[str, Any]) -> Cell | None:
    """Read a cell; None if there is none, or, after a line that says why, if it is torn or was
    made of other things."""

    def parse(facts: Facts, tensors: Tensors) -> Cell:
        if identity(facts["depends"]) != json.loads(json.dumps(depends)):
            raise ValueError("made of other things")
        film = {name: tensors[f"film_{name}"] for name in FILM if f"film_{name}" in tensors}
        return Cell(
            tensors["features"],
            tensors["images"],
            float(facts["nfe"]),
            float(facts["seconds"]),
            dict(facts["made"]),
            Film(**film) if film else None,
        )

    return CELL.recall(path, parse)


def features_of(plan: Plan, folder: Path) -> Tensor:
    """The features [N, d] of a cell that is finished."""
    cell = load_cell(folder / "cells" / plan.name, plan.depends)
    if cell is None:
        raise InputError(
            f"{plan.name}: lost while the comparison ran; start the same command again"
        )
    return cell.features


def settled(todo: Sequence[Plan], folder: Path) -> list[Plan]:
    """The plans, or those of a comparison with version 1 of the noise that is finished.

    One that is not is sampled again, and a line says so: its solvers would be compared on other
    starts than the rest.
    """
    earlier = [
        replace(plan, depends={k: v for k, v in plan.depends.items() if k != NOISE})
        for plan in todo
    ]
    old, new = ([folder / "cells" / plan.name for plan in plans] for plans in (earlier, todo))
    begun = [path for path in old if path.is_file() or path.with_suffix("").is_dir()]
    if not begun or any(path.is_file() or path.with_suffix("").is_dir() for path in new):
        return list(todo)
    if all(
        load_cell(path, plan.depends) is not None for path, plan in zip(old, earlier, strict=True)
    ):
        return earlier
    notice(f"{folder}: cells of version 1 of the noise are sampled again")
    for path in begun:
        shutil.rmtree(path.with_suffix(""), ignore_errors=True)
    return list(todo)


def cell_of(
    plan: Plan,
    task: CompareTask,
    extractor: Extractor,
    folder: Path,
    progress: Callable[[int], None],
) -> Cell:
    """The cell: read if ``folder`` has it whole, else sampled, part by part, and written.

    A kill loses the part it hits. ``progress(rows)`` hears of the samples that are there.
    """
    path = folder / "cells" / plan.name
    parts = path.with_suffix("")
    cell = load_cell(path, plan.depends)
    if cell is None:
        # Whole batches, so that they are the same ones with parts as without.
        size = task.batch_size * max(1, PART // task.batch_size)
        slices = [slice(k, min(k + size, task.most)) for k in range(0, task.most, size)]
        if len(slices) == 1:
            cell = _sampled(plan, task, extractor, slices[0], progress)
        else:
            cell = Cell.join([_part(plan, task, extractor, rows, parts, progress)
                              for rows in slices])  # fmt: skip
        save_cell(path, cell, plan.depends)
    else:
        progress(len(cell.features))
    shutil.rmtree(parts, ignore_errors=True)
    return cell


def _part(
    plan: Plan,
    task: CompareTask,
    extractor: Extractor,
    rows: slice,
    folder: Path,
    progress: Callable[[int], None],
) -> Cell:
    """The cell of some samples alone: read if ``folder`` has it, else sampled and written."""
    path = folder / f"{rows.start:07d}-{rows.stop:07d}.safetensors"
    depends = {**plan.depends, "rows": [rows.start, rows.stop]}
    part = load_cell(path, depends)
    if part is None:
        part = _sampled(plan, task, extractor, rows, progress)
        save_cell(path, part, depends)
    else:
        progress(len(part.features))
    return part


def _sampled(
    plan: Plan,
    task: CompareTask,
    extractor: Extractor,
    rows: slice,
    progress: Callable[[int], None],
) -> Cell:
    cond = None if plan.cond is None else plan.cond[rows]
    drawn = plan.sampler.sample(
        Request(plan.seeds[rows], plan.nfe, cond),
        Execution(task.batch_size, DTYPES[choice("dtype", task.dtype, DTYPES)], task.device),
        Watch(recorded=FILMED if plan.filmed and rows.start == 0 else 0, on_batch=progress),
    )
    images = drawn.images
    film = None if drawn.calls is None else drawn.film
    return Cell(extractor(images), images[:SHOWN], drawn.nfe, drawn.seconds, machine(), film)
