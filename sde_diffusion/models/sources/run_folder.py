"""The folder of a training run: its model if it is finished, else its newest average."""

from __future__ import annotations

from pathlib import Path

import torch

from sde_diffusion.models.opened import OpenedModel
from sde_diffusion.models.sources import checkpoint
from sde_diffusion.system.notice import once

# The averaged weights at the end of a run, and at its last save.
FINISHED, UNFINISHED = "model.safetensors", "checkpoint.safetensors"


def recognised(path: Path) -> bool:
    """Whether it is a folder with the files of a run."""
    return any((path / name).is_file() for name in (FINISHED, UNFINISHED))


def opened(path: Path, dtype: torch.dtype, codec: str | None = None) -> OpenedModel:
    """The run's model; one line says so where the run is not at its end.

    Args:
        codec: as for a checkpoint.
    """
    finished = (path / FINISHED).is_file()
    model = checkpoint.opened(path / (FINISHED if finished else UNFINISHED), dtype, codec)
    if not finished:
        once(f"checkpoint={path}: the run is not finished; its newest average is taken")
    return model
