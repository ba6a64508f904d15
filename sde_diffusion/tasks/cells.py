"""A finished cell of a comparison on disk, so that a killed run goes on where it was."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from sde_diffusion.files import write_atomically


@dataclass(frozen=True)
class Cell:
    """Features [N, d] float64 in seed order, the first images uint8, NFE a sample, seconds."""

    features: Tensor
    images: Tensor
    nfe: float
    seconds: float


def save_cell(path: Path, cell: Cell) -> None:
    """Write a cell, whole or not at all."""
    facts = torch.tensor([cell.nfe, cell.seconds], dtype=torch.float64)
    content = {"features": cell.features, "images": cell.images, "facts": facts}
    write_atomically(path, save({k: v.contiguous() for k, v in content.items()}))


def load_cell(path: Path) -> Cell:
    """Read a cell written by ``save_cell``."""
    content = load_file(path)
    nfe, seconds = content["facts"].tolist()
    return Cell(content["features"], content["images"], nfe, seconds)
