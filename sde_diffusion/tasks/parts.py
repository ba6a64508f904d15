"""Long work in parts that are kept on disk, so that a killed run goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.config import digest
from sde_diffusion.files import write_atomically


def in_parts(
    folder: Path,
    depends: Mapping[str, Any],
    rows: int,
    chunk: int,
    work: Callable[[slice], dict[str, Tensor]],
    progress: str,
) -> dict[str, Tensor]:
    """``work`` on slices of ``chunk`` rows, each result [chunk, ...] written whole or not at all.

    A part that ``folder`` has is read, not made again: its name holds a digest of ``depends``,
    which must say all that the numbers depend on. Returns the parts joined, by name.
    """
    key = digest(OmegaConf.create(dict(depends)))
    parts = []
    with tqdm(total=rows, desc=progress, unit="image") as bar:
        for first in range(0, rows, chunk):
            last = min(first + chunk, rows)
            path = folder / "parts" / f"{key}-{first:06d}-{last:06d}.safetensors"
            if not path.is_file():
                made = work(slice(first, last))
                write_atomically(path, save({k: v.contiguous() for k, v in made.items()}))
            parts.append(load_file(path))
            bar.update(last - first)
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
