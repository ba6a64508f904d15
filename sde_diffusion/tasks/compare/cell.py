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

from sde_diffusion.errors import InputError
from sde_diffusion.metrics.extractors import Extractor
from sde_diffusion.sampling.execute import Execution
from sde_diffusion.sampling.film import Film
from sde_diffusion.sampling.sampler import Request, Watch
from sde_diffusion.system import strict_json
from sde_diffusion.system.identity import identity
from sde_diffusion.system.notice import notice, optional
from sde_diffusion.system.provenance import machine
from sde_diffusion.system.resume import NOISE
from sde_diffusion.system.sealed import Facts, SealedKind, Tensors, first_checksum
from sde_diffusion.tasks.compare.plan import Plan

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
        origin: revision, date and machine of the sampling. film: how the first images formed.
    """

    features: Tensor
    images: Tensor
    nfe: float
    seconds: float
    origin: dict[str, str]
    film: Film | None = None

    @classmethod
    def join(cls, parts: Sequence[Cell]) -> Cell:
        """Consecutive samples, all parts but the last of at least ``SHOWN``."""
        sizes = [len(part.features) for part in parts]
        origin = {
            # A cell that was begun by one revision or machine and ended by another names both.
            key: parts[-1].origin[key]
            if key == "date"
            else "; ".join(dict.fromkeys(part.origin[key] for part in parts))
            for key in parts[-1].origin
        }
        return cls(
            torch.cat([part.features for part in parts]),
            torch.cat([part.images for part in parts])[:SHOWN],
            sum(n * part.nfe for n, part in zip(sizes, parts, strict=True)) / sum(sizes),
            sum(part.seconds for part in parts),
            origin,
            parts[0].film,
        )


def save_cell(path: Path, cell: Cell, depends: Mapping[str, Any]) -> None:
    """Write a cell, whole or not at all, with what it depends on."""
    tensors = {"features": cell.features, "images": cell.images}
    if cell.film is not None:
        tensors |= {f"film_{name}": getattr(cell.film, name) for name in FILM}
    facts = {"nfe": cell.nfe, "seconds": cell.seconds, "made": cell.origin, "depends": depends}
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


Heard = Callable[[int], None]


@dataclass(frozen=True)
class Cells:
    """The cells of a comparison in their folder, and what those that are missing are made with.

    Attributes:
        folder: where they lie. extractor: of their features.
        execution: how they are sampled. most: samples of each.
    """

    folder: Path
    extractor: Extractor
    execution: Execution
    most: int

    def settled(self, plans: Sequence[Plan]) -> list[Plan]:
        """The plans, or those of a comparison with version 1 of the noise that is finished.

        One that is not is sampled again, and a line says so: its solvers would be compared on other
        starts than the rest.
        """
        earlier = [
            replace(plan, depends={k: v for k, v in plan.depends.items() if k != NOISE})
            for plan in plans
        ]
        begun = [path for path in map(self._path, earlier) if _is_begun(path)]
        if not begun or any(_is_begun(path) for path in map(self._path, plans)):
            return list(plans)
        if all(load_cell(self._path(plan), plan.depends) is not None for plan in earlier):
            return earlier
        notice(f"{self.folder.parent}: cells of version 1 of the noise are sampled again")
        for path in begun:
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
        return list(plans)

    def _path(self, plan: Plan) -> Path:
        return self.folder / plan.name

    def read(self, plan: Plan) -> Cell:
        """A cell that is finished."""
        cell = load_cell(self._path(plan), plan.depends)
        if cell is None:
            raise InputError(
                f"{plan.name}: lost while the comparison ran; start the same command again"
            )
        return cell

    def take(self, plan: Plan, heard: Heard) -> Cell:
        """The cell: read if the folder has it whole, else sampled, part by part, and written.

        A kill loses the part it hits. ``heard(rows)`` is told of the samples that are there.
        """
        path = self._path(plan)
        parts = path.with_suffix("")
        cell = load_cell(path, plan.depends)
        if cell is None:
            # Whole batches, so that they are the same ones with parts as without.
            size = self.execution.batch_size * max(1, PART // self.execution.batch_size)
            slices = [slice(k, min(k + size, self.most)) for k in range(0, self.most, size)]
            if len(slices) == 1:
                cell = self._sampled(plan, slices[0], heard)
            else:
                cell = Cell.join([self._part(plan, rows, parts, heard) for rows in slices])
            save_cell(path, cell, plan.depends)
        else:
            heard(len(cell.features))
        shutil.rmtree(parts, ignore_errors=True)
        return cell

    def _part(self, plan: Plan, rows: slice, folder: Path, heard: Heard) -> Cell:
        """The cell of some samples alone: read if ``folder`` has it, else sampled and written."""
        path = folder / f"{rows.start:07d}-{rows.stop:07d}.safetensors"
        depends = {**plan.depends, "rows": [rows.start, rows.stop]}
        part = load_cell(path, depends)
        if part is None:
            part = self._sampled(plan, rows, heard)
            save_cell(path, part, depends)
        else:
            heard(len(part.features))
        return part

    def _sampled(self, plan: Plan, rows: slice, heard: Heard) -> Cell:
        cond = None if plan.cond is None else plan.cond[rows]
        drawn = plan.sampler.sample(
            Request(plan.seeds[rows], plan.nfe, cond),
            self.execution,
            Watch(recorded=FILMED if plan.filmed and rows.start == 0 else 0, on_batch=heard),
        )
        images, film = drawn.images, None
        if drawn.calls is not None:
            with optional(f"film of {plan.label}"):
                film = drawn.film
        features = self.extractor(images)
        return Cell(features, images[:SHOWN], drawn.nfe, drawn.seconds, machine(), film)


def _is_begun(path: Path) -> bool:
    """Whether a cell is there, or a part of it."""
    return path.is_file() or path.with_suffix("").is_dir()
