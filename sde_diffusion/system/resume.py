"""Long work in parts that are kept on disk, so that a killed run goes on where it was."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.system.identity import digest
from sde_diffusion.system.storage import checksum, write_atomically

CHECKSUM = "sha256"


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
    parts = []
    with tqdm(total=rows, desc=progress, unit="image") as bar:
        for first in range(0, rows, chunk):
            last = min(first + chunk, rows)
            path = folder / "parts" / f"{key}-{first:06d}-{last:06d}.safetensors"
            part = _read(path) if path.is_file() else None
            if part is None:
                part = {k: v.contiguous() for k, v in work(slice(first, last)).items()}
                write_atomically(path, save(part, {CHECKSUM: checksum(dict(sorted(part.items())))}))
            parts.append(part)
            bar.update(last - first)
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _read(path: Path) -> dict[str, Tensor] | None:
    """A part; None, with a line that says why, if it is torn or was changed."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            known = (file.metadata() or {}).get(CHECKSUM)
        if known != checksum(dict(sorted(tensors.items()))):
            raise ValueError("its checksum is wrong")
        return tensors
    except (SafetensorError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        print(f"{path.name}: not usable ({reason}); made again", file=sys.stderr)
        return None
