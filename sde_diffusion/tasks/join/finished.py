"""The finished jobs of folders, and in what their configs differ."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sde_diffusion.config import groups
from sde_diffusion.errors import InputError
from sde_diffusion.system import strict_json
from sde_diffusion.system.identity import COMPONENT, identity

COMPARED, RESULT = "results.json", "result.json"
NULL = "null"
DEPTH = 3  # of folders below the one that is given
REMEDY = "give folders of finished jobs, or of a multirun"
# Where a result goes, and how: nothing that a number depends on.
APART = ("hydra", "tracker", "task")


@dataclass(frozen=True)
class Finished:
    """A job that is finished.

    Attributes:
        name: what tells it from the others. folder: where it lies.
        content: of its results. facts: what they depend on. compared: whether it is a comparison.
    """

    name: str
    folder: Path
    content: Mapping[str, Any]
    facts: Mapping[str, Any]
    compared: bool

    @property
    def config(self) -> Mapping[str, Any]:
        """All that was asked for."""
        config: Mapping[str, Any] = self.facts["config"]
        return config

    @property
    def task(self) -> str:
        """The task that it was."""
        return str(self.config.get("task"))


def finished(folders: Sequence[Path]) -> list[Finished]:
    """The finished jobs in and below ``folders``, each once, in the order given.

    InputError for a folder that has none, and for what is torn.
    """
    places: dict[Path, None] = {}
    for folder in folders:
        below = list(_below(folder.absolute(), DEPTH)) if folder.is_dir() else []
        if not below:
            raise InputError(f"folders={folder}: no finished job in it; {REMEDY}")
        places |= dict.fromkeys(below)
    jobs = [_read(place, name) for place, name in zip(places, _names(list(places)), strict=True)]
    return [job for job in jobs if job.task != "join"]


def _below(folder: Path, depth: int) -> Iterator[Path]:
    """The folders of results, down to ``depth``, in the order of their numbers and names."""
    if any((folder / name).is_file() for name in (COMPARED, RESULT)):
        yield folder
    elif depth:
        inner = [path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."]
        for path in sorted(inner, key=lambda path: (path.name.zfill(9), path.name)):
            yield from _below(path, depth - 1)


def _names(places: Sequence[Path]) -> list[str]:
    """Each folder without what all have in common."""
    if len(places) == 1:
        return [places[0].name]
    common = os.path.commonpath([place.parent for place in places])
    return [place.relative_to(common).as_posix() for place in places]


def _read(folder: Path, name: str) -> Finished:
    compared = (folder / COMPARED).is_file()
    path = folder / (COMPARED if compared else RESULT)
    try:
        content = strict_json.loads(path.read_bytes())
        facts = content["provenance"] if compared else content
        return Finished(name, folder, content, {"config": {}, **facts}, compared)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(f"folders={folder}: {path.name} is torn; run its job again") from error


def differences(jobs: Sequence[Finished], *without: str) -> dict[str, list[Any]]:
    """The keys whose values are not the same in all jobs, with the value in each.

    A component is its name, a null "null", and a key that a job has not, as other components have
    it, None. ``without`` are keys that are left out.
    """
    flat = [dict(_flat(identity(job.config))) for job in jobs]
    keys = dict.fromkeys(key for values in flat for key in values)
    differing = {}
    for key in keys:
        values = [each.get(key) for each in flat]
        if key.partition(".")[0] not in (*APART, *without) and values.count(values[0]) < len(jobs):
            differing[key.removesuffix(f".{COMPONENT}")] = [
                _typed(key, NULL if value is None and key in each else value)
                for value, each in zip(values, flat, strict=True)
            ]
    return differing


def _typed(key: str, value: Any) -> Any:
    """What is typed at a key: of the name of a component, the choice that makes it."""
    names = key.split(".")
    group: str | None = names[0]
    for part in names[1:-1]:
        group = None if group is None else groups.part_group(group, part)
    is_component = group is not None and value is not None and names[-1] == COMPONENT
    return groups.typed(str(group), str(value)) if is_component else value


def _flat(config: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{key}{name}.")
        else:
            yield f"{key}{name}", value
