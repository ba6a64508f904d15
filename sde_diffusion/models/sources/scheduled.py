"""The scheduler of a pipeline's folder, under the class that its index names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sde_diffusion.errors import InputError
from sde_diffusion.models.opened import Finding
from sde_diffusion.models.schedulers import BEYOND, FILE, PLAIN, SIGMA
from sde_diffusion.models.sources.weights import json_file

INDEX = "model_index.json"
DISCRETE = {f"{name}Scheduler" for name in (*PLAIN, *SIGMA, *BEYOND)}  # of one kind of process


def scheduler_of(path: Path, index: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of its file; of two classes the index's, as diffusers opens the folder.

    InputError for two that are of other kinds of process: one of them is a mistake.
    """
    config = json_file(path / "scheduler" / FILE)
    named, written = _named(index), str(config.get("_class_name", ""))
    if named and written and named != written and not {named, written} <= DISCRETE:
        raise InputError(
            f"{INDEX}: scheduler is {named[:60]}, and its {FILE} says {written[:60]}, of another "
            "kind; write the right one into both"
        )
    return {**config, "_class_name": named} if named else config


def of_two_classes(path: Path, index: Mapping[str, Any]) -> list[Finding]:
    """What to say where index and file name two classes; nothing else."""
    where, named = path / "scheduler" / FILE, _named(index)
    written = json_file(where).get("_class_name") if where.is_file() else named
    if not named or named == written:
        return []
    return [Finding("scheduler", named, f"{INDEX}, as diffusers; {FILE} says {written}")]


def _named(index: Mapping[str, Any]) -> str:
    entry = index.get("scheduler")
    if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[1], str):
        return ""
    return entry[1]
