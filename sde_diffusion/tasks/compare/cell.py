"""A finished cell of a comparison on disk, so that a killed run goes on where it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sde_diffusion.errors import DivergedError, InputError
from sde_diffusion.metrics.clip_score import ClipScore
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
from sde_diffusion.system.share import shared
from sde_diffusion.tasks.compare.design import Design
from sde_diffusion.tasks.compare.plan import Budget, Plan

SHOWN = 10
FILMED = 4
PART = 125  # images that a kill may cost, and that one of several processes takes at a time
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
        fits: CLIP scores [N] of images and sentences, where a model was given for it.
    """

    features: Tensor
    images: Tensor
    nfe: float
    seconds: float
    origin: dict[str, str]
    film: Film | None = None
    fits: Tensor | None = None

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
            torch.cat(fits) if (fits := [p.fits for p in parts if p.fits is not None]) else None,
        )


def save_cell(path: Path, cell: Cell, depends: Mapping[str, Any]) -> None:
    """Write a cell, whole or not at all, with what it depends on."""
    tensors = {"features": cell.features, "images": cell.images}
    if cell.film is not None:
        tensors |= {f"film_{name}": getattr(cell.film, name) for name in FILM}
    if cell.fits is not None:
        tensors["fits"] = cell.fits
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
            tensors.get("fits"),
        )

    return CELL.recall(path, parse)


# Hears of a plan how many more of its samples are there.
Heard = Callable[[Plan, int], None]
# Some samples of a plan.
Part = tuple[Plan, slice]


@dataclass(frozen=True)
class Cells:
    """The cells of a comparison in their folder, and what those that are missing are made with.

    Attributes:
        folder: where they lie. extractor: of their features.
        execution: how they are sampled. most: samples of each.
        clip, sentences: what scores the images beside the sentences of a block; None, and none.
    """

    folder: Path
    extractor: Extractor
    execution: Execution
    most: int
    clip: ClipScore | None = None
    sentences: Sequence[str] = ()

    @classmethod
    def of(cls, folder: Path, extractor: Extractor, execution: Execution, design: Design) -> Cells:
        """Those of a design."""
        named = design.clip_score
        clip = None if named is None else ClipScore(named, execution.device)
        return cls(folder, extractor, execution, design.most, clip, design.said)

    @property
    def judges(self) -> dict[str, str]:
        """The fingerprints of all that sees the images, by the names that cells depend on."""
        fingerprints = {"extractor": self.extractor.fingerprint}
        return (
            fingerprints
            if self.clip is None
            else {**fingerprints, self.clip.name: self.clip.fingerprint}
        )

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

    def take(
        self, plans: Sequence[Plan], heard: Heard
    ) -> Iterator[tuple[Plan, Cell | DivergedError]]:
        """Each cell as it comes to be there, the first ones first as far as that can be.

        It is read if the folder has it whole, else sampled, part by part, and written; a kill loses
        the parts that it hits. Of a budget of which some samples diverge, all cells are the error.
        """
        failed: dict[Budget, DivergedError] = {}
        finished: dict[Plan, Cell] = {}
        looked: set[Plan] = set()
        left = dict.fromkeys(plans, len(self._slices()))

        def there(plan: Plan, rows: slice) -> bool:
            if plan not in looked:
                looked.add(plan)
                if (cell := load_cell(self._path(plan), plan.depends)) is not None:
                    finished[plan] = cell
            return plan in finished or self._load(plan, rows) is not None

        for plan, _ in self._shared(plans, there, failed, heard):
            left[plan] -= 1
            if not left[plan]:
                yield plan, failed.get(plan.budget) or finished.pop(plan, None) or self._join(plan)
        for plan in plans:
            shutil.rmtree(self._folder(plan), ignore_errors=True)

    def help(self, plans: Sequence[Plan]) -> None:
        """Sample parts of the cells, as long as there are any that no process has taken."""

        def there(plan: Plan, rows: slice) -> bool:
            return self._file(plan, rows).is_file() or self._path(plan).is_file()

        for _ in self._shared(plans, there, {}, lambda plan, rows: None):
            continue

    def _shared(
        self,
        plans: Sequence[Plan],
        there: Callable[[Plan, slice], bool],
        failed: dict[Budget, DivergedError],
        heard: Heard,
    ) -> Iterator[Part]:
        """Every part once it is there, or cannot be; what diverged is put into ``failed``."""

        def whole(part: Part) -> bool:
            plan, rows = part
            if plan.budget in failed:
                return True
            if whole := there(plan, rows):
                heard(plan, rows.stop - rows.start)
            return whole

        def make(part: Part) -> None:
            plan, rows = part
            try:
                sampled = self._sampled(plan, rows, partial(heard, plan))
            except DivergedError as error:
                failed[plan.budget] = error
            else:
                save_cell(self._file(plan, rows), sampled, self._depends(plan, rows))

        parts = [(plan, rows) for plan in plans for rows in self._slices()]
        return shared(parts, lambda part: self._file(*part), make, whole)

    def _slices(self) -> list[slice]:
        """Whole batches, so that they are the same ones with parts as without."""
        size = self.execution.batch_size * max(1, PART // self.execution.batch_size)
        return [slice(k, min(k + size, self.most)) for k in range(0, self.most, size)]

    def _folder(self, plan: Plan) -> Path:
        """Of its parts, if it has several."""
        return self._path(plan).with_suffix("")

    def _file(self, plan: Plan, rows: slice) -> Path:
        if rows == slice(0, self.most):
            return self._path(plan)
        return self._folder(plan) / f"{rows.start:07d}-{rows.stop:07d}.safetensors"

    def _depends(self, plan: Plan, rows: slice) -> dict[str, Any]:
        if rows == slice(0, self.most):
            return plan.depends
        return {**plan.depends, "rows": [rows.start, rows.stop]}

    def _load(self, plan: Plan, rows: slice) -> Cell | None:
        return load_cell(self._file(plan, rows), self._depends(plan, rows))

    def _join(self, plan: Plan) -> Cell:
        """The cell of parts that are all there, written in their place."""
        if len(self._slices()) == 1:
            return self.read(plan)
        parts = [cell for rows in self._slices() if (cell := self._load(plan, rows)) is not None]
        if len(parts) < len(self._slices()):
            raise InputError(
                f"{plan.name}: parts were lost while the comparison ran; start the same command "
                "again"
            )
        cell = Cell.join(parts)
        save_cell(self._path(plan), cell, plan.depends)
        shutil.rmtree(self._folder(plan), ignore_errors=True)
        return cell

    def _sampled(self, plan: Plan, rows: slice, heard: Callable[[int], None]) -> Cell:
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
        fits = None if self.clip is None else self.clip(images, self.sentences[rows])
        return Cell(features, images[:SHOWN], drawn.nfe, drawn.seconds, machine(), film, fits)


def _is_begun(path: Path) -> bool:
    """Whether a cell is there, or a part of it."""
    return path.is_file() or path.with_suffix("").is_dir()
