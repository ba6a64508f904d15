"""Long work in parts that are kept on disk, so that a killed run goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.system.bars import hidden
from sde_diffusion.system.identity import digest
from sde_diffusion.system.notice import notice
from sde_diffusion.system.sealed import Facts, SealedKind, Tensors, first_checksum
from sde_diffusion.system.share import shared


def _first_part(metadata: Mapping[str, str], tensors: Tensors) -> Facts:
    if metadata["sha256"] != first_checksum(dict(sorted(tensors.items()))):
        raise ValueError("its checksum is wrong")
    return {}


PART = SealedKind("part", 2, "run the same command again", _first_part)
# Names the version of the noise among what numbers depend on; what names none is of version 1.
NOISE = "noise_version"
# Which rows of a data set were drawn; what names none, of version 1 of the noise, took the first.
ROWS = "rows"


def in_parts(
    folder: Path,
    depends: Mapping[str, Any],
    rows: int,
    chunk: int,
    work: Callable[[slice], dict[str, Tensor]],
    progress: str | None,
) -> dict[str, Tensor]:
    """``work`` on slices of ``chunk`` rows, each result [chunk, ...] written whole or not at all.

    A part that ``folder`` has whole is read, not made again: its name holds a digest of
    ``depends``, which must say all that the numbers depend on. ``progress`` labels a bar; None
    draws none. Of several processes each makes the parts that it takes first. Returns the parts
    joined, by name.
    """
    parts: dict[Path, Tensors] = {}
    slices = _paths(folder, depends, rows, chunk)
    noise = {NOISE: depends[NOISE]} if NOISE in depends else {}

    def make(path: Path) -> None:
        parts[path] = work(slices[path])
        PART.write(path, parts[path], noise)

    def whole(path: Path) -> bool:
        part = PART.recall(path, lambda facts, tensors: tensors)
        if part is not None:
            parts[path] = part
        return part is not None

    off = hidden(progress is not None)
    with tqdm(total=rows, desc=progress, unit="image", disable=off) as bar:
        for path in shared(list(slices), lambda path: path, make, whole):
            bar.update(slices[path].stop - slices[path].start)
    return {name: torch.cat([parts[path][name] for path in slices]) for name in parts[path]}


def settled(
    folder: Path,
    depends: Mapping[str, Any],
    rows: int,
    chunk: int,
    others: Mapping[str, SealedKind] | None = None,
) -> Mapping[str, Any]:
    """What the parts of ``folder`` depend on: ``depends``, or what work depends on that version 1
    of the noise has finished.

    Parts of version 1 that are not all there are made again, and a line says so: they and those
    still to be made would not belong together.

    Args:
        depends: has the version of the noise under ``NOISE``.
        rows, chunk: as for ``in_parts``.
        others: the kinds of further files, KEY-NAME.safetensors, by name.
    """
    earlier = {name: value for name, value in depends.items() if name not in (NOISE, ROWS)}
    known = others or {}
    old, new = (
        {
            **dict.fromkeys(_paths(folder, content, rows, chunk), PART),
            **dict(zip(_files(folder, content, known), known.values(), strict=True)),
        }
        for content in (earlier, depends)
    )
    if not any(path.is_file() for path in old) or any(path.is_file() for path in new):
        return depends
    if all(kind.recall(path, lambda *content: True) for path, kind in old.items()):
        return earlier
    notice(f"{folder}: parts of version 1 of the noise are made again")
    return depends


def _paths(folder: Path, depends: Mapping[str, Any], rows: int, chunk: int) -> dict[Path, slice]:
    """The files of all parts, with the rows that each holds."""
    slices = [slice(first, min(first + chunk, rows)) for first in range(0, rows, chunk)]
    names = (f"{s.start:06d}-{s.stop:06d}" for s in slices)
    return dict(zip(_files(folder, depends, names), slices, strict=True))


def _files(folder: Path, depends: Mapping[str, Any], names: Iterable[str]) -> list[Path]:
    """The files KEY-NAME.safetensors, KEY a digest of ``depends``."""
    key = digest(depends)
    return [folder / "parts" / f"{key}-{name}.safetensors" for name in names]
