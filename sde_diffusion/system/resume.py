"""Long work in parts that are kept on disk, so that a killed run goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.system.identity import digest
from sde_diffusion.system.sealed import Facts, SealedKind, Tensors, first_checksum


def _first_part(metadata: Mapping[str, str], tensors: Tensors) -> Facts:
    if metadata["sha256"] != first_checksum(dict(sorted(tensors.items()))):
        raise ValueError("its checksum is wrong")
    return {}


PART = SealedKind("part", 2, "run the same command again", _first_part)


def in_parts(
    folder: Path,
    depends: Mapping[str, Any],
    rows: int,
    chunk: int,
    work: Callable[[slice], dict[str, Tensor]],
    progress: str,
) -> dict[str, Tensor]:
    """``work`` on slices of ``chunk`` rows, each result [chunk, ...] written whole or not at all.

    A part that ``folder`` has whole is read, not made again: its name holds a digest of
    ``depends``, which must say all that the numbers depend on. Returns the parts joined, by name.
    """
    key = digest(depends)
    made: list[Tensors] = []
    with tqdm(total=rows, desc=progress, unit="image") as bar:
        for first in range(0, rows, chunk):
            last = min(first + chunk, rows)
            path = folder / "parts" / f"{key}-{first:06d}-{last:06d}.safetensors"
            part = PART.recall(path, lambda facts, tensors: tensors)
            if part is None:
                part = work(slice(first, last))
                PART.write(path, part, {})
            made.append(part)
            bar.update(last - first)
    return {name: torch.cat([part[name] for part in made]) for name in made[0]}
