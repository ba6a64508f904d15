"""A finished cell of a comparison on disk, so that a killed run goes on where it was."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sde_diffusion.animation import Film
from sde_diffusion.data.images import to_uint8
from sde_diffusion.errors import InputError
from sde_diffusion.files import write_atomically
from sde_diffusion.metrics.extractors import Extractor
from sde_diffusion.metrics.reference import checksum
from sde_diffusion.model import DTYPES
from sde_diffusion.tasks.common import choice, machine
from sde_diffusion.tasks.plans import CompareTask, Plan

FORMAT = 2
KEY = "sde_diffusion_cell"
SHOWN = 10
FILMED = 4
FILM = tuple(field.name for field in fields(Film))


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


def save_cell(path: Path, cell: Cell, depends: Mapping[str, Any]) -> None:
    """Write a cell, whole or not at all, with what it depends on and a checksum."""
    tensors = {"features": cell.features, "images": cell.images}
    if cell.film is not None:
        tensors |= {f"film_{name}": getattr(cell.film, name) for name in FILM}
    facts = {"format": FORMAT, "nfe": cell.nfe, "seconds": cell.seconds, "made": cell.made,
             "depends": depends, "tensors": list(tensors),
             "checksum": checksum(tensors)}  # fmt: skip
    write_atomically(
        path, save({k: x.contiguous() for k, x in tensors.items()}, {KEY: json.dumps(facts)})
    )


def load_cell(path: Path, depends: Mapping[str, Any]) -> Cell | None:
    """Read a cell; None, with a line that says why, if it is torn or was made of other things."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})[KEY])
            tensors = {name: file.get_tensor(name) for name in facts["tensors"]}
        if facts["format"] != FORMAT or facts["depends"] != json.loads(json.dumps(depends)):
            raise ValueError("made by another version, or of other things")
        if facts["checksum"] != checksum(tensors):
            raise ValueError("its checksum is wrong")
        film = (
            Film(*(tensors[f"film_{name}"] for name in FILM)) if "film_levels" in tensors else None
        )
        return Cell(tensors["features"], tensors["images"], facts["nfe"], facts["seconds"],
                    facts["made"], film)  # fmt: skip
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        print(f"{path.name}: not usable ({reason}); sampled again", file=sys.stderr)
        return None


def features_of(plan: Plan, folder: Path) -> Tensor:
    """The features [N, d] of a cell that is finished."""
    cell = load_cell(folder / "cells" / plan.name, plan.depends)
    if cell is None:
        raise InputError(
            f"{plan.name}: lost while the comparison ran; start the same command again"
        )
    return cell.features


def cell_of(
    plan: Plan,
    task: CompareTask,
    extractor: Extractor,
    folder: Path,
    progress: Callable[[int], None],
) -> Cell:
    """The cell: read if ``folder`` has it whole, else sampled and written.

    ``progress(rows)`` hears of the samples that are there.
    """
    path = folder / "cells" / plan.name
    known = load_cell(path, plan.depends) if path.is_file() else None
    if known is not None:
        progress(len(plan.seeds))
        return known
    drawn = plan.sampler.sample(
        plan.seeds, plan.nfe, plan.cond, task.batch_size,
        DTYPES[choice("dtype", task.dtype, DTYPES)], task.device, on_batch=progress,
        recorded=FILMED if plan.filmed else 0,
    )  # fmt: skip
    images = to_uint8(drawn.x)
    film = None if drawn.calls is None else drawn.film
    cell = Cell(extractor(images), images[:SHOWN], drawn.nfe, drawn.seconds, machine(), film)
    save_cell(path, cell, plan.depends)
    return cell
