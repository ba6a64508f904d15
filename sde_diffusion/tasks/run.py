"""What every task does alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from sde_diffusion.config.compose import plain
from sde_diffusion.models.model import Model
from sde_diffusion.system.provenance import machine
from sde_diffusion.system.tracking import Job


def provenance(model: Model, config: DictConfig) -> dict[str, Any]:
    """Everything a number depends on beside its own cell: model, config, machine, date."""
    return {
        "model": model.name,
        "model_fingerprint": model.fingerprint,
        **machine(),
        "config": {k: v for k, v in plain(config).items() if k != "hydra"},
    }


def job(config: DictConfig, folder: Path, tags: Sequence[str] = ()) -> Job:
    """The job as a tracker hears of it: jobs of one sweep share its folder's name as group."""
    return Job(plain(config), folder, str(config.task), folder.absolute().parent.name, tags)
