"""The images of one sampler at one NFE over all jobs: one a seed, however many jobs drew it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sde_diffusion.config.command import value
from sde_diffusion.errors import InputError
from sde_diffusion.system.identity import digest
from sde_diffusion.system.resume import NOISE
from sde_diffusion.tasks.compare.cell import CELL
from sde_diffusion.tasks.join.finished import COMPARED, Finished, differences

FIRST = 1  # the version of the noise of results that name none
# Of what a cell depends on, what does not make it another sampler.
BESIDE = ("seeds", "filmed", "nfe")
# Keys of a comparison that choose cells: they tell no samplers of one name apart.
CHOICES = ("solvers", "nfe", "samples", "seed", "repeats", "animation", "metric", "reference")


@dataclass(frozen=True)
class Pool:
    """The images of a sampler at an NFE.

    Attributes:
        label: of the sampler. nfe: that it was given; None of an adaptive one.
        row: the protocol of its first cell. wish: its label of the images, as a user says it.
        features: [N, d] of the seeds, increasing. images: the first of them, uint8.
        measured: evaluations a sample. seconds: of all of them.
    """

    label: str
    nfe: int | None
    row: Mapping[str, Any]
    wish: Any
    seeds: tuple[int, ...]
    features: Tensor
    images: Tensor
    measured: float
    seconds: float

    def of(self, seeds: Sequence[int]) -> Tensor:
        """The features [N, d] of some of its seeds."""
        place = {seed: k for k, seed in enumerate(self.seeds)}
        return self.features[[place[seed] for seed in seeds]]


@dataclass(frozen=True)
class Drawn:
    """A finished cell: the job that has it, what results.json says of it, and its file."""

    job: int
    label: str
    depends: Mapping[str, Any]
    row: Mapping[str, Any]
    path: Path

    @property
    def sampler(self) -> str:
        """What all cells of one sampler share."""
        return digest({k: v for k, v in self.depends.items() if k not in BESIDE})


def pools(jobs: Sequence[Finished]) -> list[Pool]:
    """One a sampler and NFE, in the order in which the jobs name them."""
    cells = [cell for number, job in enumerate(jobs) for cell in _cells(number, job)]
    names = labels(jobs, cells)
    groups: dict[tuple[str, int | None], list[Drawn]] = {}
    for cell in cells:
        groups.setdefault((names[cell.sampler], cell.depends["nfe"]), []).append(cell)
    order = {label: k for k, label in enumerate(dict.fromkeys(names.values()))}
    return [
        _pool(label, nfe, groups[label, nfe])
        for label, nfe in sorted(groups, key=lambda each: order[each[0]])
    ]


def _cells(number: int, job: Finished) -> list[Drawn]:
    rows = {row["cell"]: {NOISE: FIRST, **row} for row in job.content["rows"]}
    drawn = []
    for cell in job.facts["cells"]:
        depends = {k: v for k, v in cell.items() if k not in ("solver", "file", "steps")}
        path = job.folder / "cells" / cell["file"]
        drawn.append(Drawn(number, cell["solver"], depends, rows[cell["file"]], path))
    return drawn


def labels(jobs: Sequence[Finished], cells: Sequence[Drawn]) -> dict[str, str]:
    """What each sampler is called: as its job called it, and, where others have that name too, with
    what tells the jobs apart, ``unipc, scale=2``."""
    first: dict[str, Drawn] = {}
    for cell in cells:
        first.setdefault(cell.sampler, cell)
    named: dict[str, list[str]] = {}
    for sampler, cell in first.items():
        named.setdefault(cell.label, []).append(sampler)
    labels = {}
    for label, samplers in named.items():
        if len(samplers) == 1:
            labels[samplers[0]] = label
            continue
        drawn_by = [jobs[first[sampler].job] for sampler in samplers]
        apart = differences(drawn_by, *CHOICES)
        for k, sampler in enumerate(samplers):
            there = {key: v[k] for key, v in apart.items() if v[k] is not None}
            settings = [f"{key.rpartition('.')[2]}={value(v)}" for key, v in there.items()]
            labels[sampler] = ", ".join([label, *(settings or [drawn_by[k].name])])
        if len({labels[sampler] for sampler in samplers}) < len(samplers):
            labels |= {s: f"{label}, {drawn_by[k].name}" for k, s in enumerate(samplers)}
    return {sampler: labels[sampler] for sampler in first}


def _pool(label: str, nfe: int | None, cells: Sequence[Drawn]) -> Pool:
    """The cells of one sampler and NFE: what several of them drew of one seed is taken once."""
    by_seed: dict[int, Tensor] = {}
    measured, seconds = 0.0, 0.0
    images: Tensor | None = None
    for cell in cells:
        facts, tensors = CELL.read(cell.path, "folders", lambda facts, tensors: (facts, tensors))
        start, count = facts["depends"]["seeds"]
        if start + count > 2**62 or len(tensors["features"]) != count:
            raise InputError(f"folders={cell.path}: not as many images as seeds; run its job again")
        new = [k for k in range(count) if start + k not in by_seed]
        by_seed |= {start + k: tensors["features"][k] for k in new}
        measured += len(new) * float(facts["nfe"])
        seconds += len(new) / count * float(facts["seconds"])
        images = tensors["images"] if images is None else images
    seeds = tuple(sorted(by_seed))
    assert images is not None
    return Pool(
        label, nfe, cells[0].row, cells[0].depends["label"], seeds,
        torch.stack([by_seed[seed] for seed in seeds]), images, measured / len(seeds), seconds,
    )  # fmt: skip


def compared(jobs: Sequence[Finished]) -> None:
    """InputError unless the distances of these comparisons are of one kind."""
    for key, why in (
        ("extractor_fingerprint", "distances of different extractors do not compare"),
        ("reference_fingerprint", "distances to different references do not compare"),
    ):
        names = [job.facts[key.removesuffix("_fingerprint")] for job in jobs]
        if len({job.facts[key] for job in jobs}) > 1:
            pairs = ", ".join(f"{job.name}: {name}" for job, name in zip(jobs, names, strict=True))
            raise InputError(f"folders: {why} ({pairs}); join those of one kind")
    versions = {str(cell.get(NOISE, FIRST)) for job in jobs for cell in job.facts["cells"]}
    if len(versions) > 1:
        raise InputError(
            f"folders: of versions {' and '.join(sorted(versions))} of the noise, of which a seed "
            "is several images; run the older jobs again, or join those of one version"
        )
    for job in jobs:
        if "_target_" not in job.config.get("extractor", {}):
            raise InputError(
                f"folders={job.folder}: {COMPARED} is not of 'sde-diffusion compare'; give the "
                "folder of a command"
            )
