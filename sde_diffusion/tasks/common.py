"""What several tasks need: checked choices, the device, and where a number came from."""

from __future__ import annotations

import datetime
import platform
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from sde_diffusion.config.compose import plain
from sde_diffusion.data import load_held_out, load_images
from sde_diffusion.errors import InputError
from sde_diffusion.metrics.cache import cached_reference
from sde_diffusion.metrics.extractors import Extractor
from sde_diffusion.metrics.reference import ReferenceSet
from sde_diffusion.models.model import Model
from sde_diffusion.system.devices import usable_device as usable_device
from sde_diffusion.system.storage import asset
from sde_diffusion.system.tracking import Job


def choice(key: str, value: str, allowed: Iterable[str]) -> str:
    """``value``, refused unless it is one of ``allowed``."""
    if value not in allowed:
        raise InputError(f"{key}={value}: choose one of {sorted(allowed)}")
    return value


def revision() -> str:
    """The git revision of a source checkout, the package version elsewhere."""
    here = Path(__file__).resolve().parents[2]
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return "unknown"
    inside = done.returncode == 0 and (here / ".git").exists()
    return done.stdout.strip() if inside else f"version {_version()}"


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("sde_diffusion")
    except PackageNotFoundError:
        return "unknown"


def machine() -> dict[str, str]:
    """Where and when a number was made."""
    return {
        "revision": revision(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"torch {torch.__version__}, {torch.get_num_threads()} threads",
    }


def provenance(model: Model, config: DictConfig) -> dict[str, Any]:
    """Everything a number depends on beside its own cell: model, config, machine, date."""
    return {
        "model": model.name,
        "model_fingerprint": model.fingerprint,
        **machine(),
        "config": {k: v for k, v in plain(config).items() if k != "hydra"},
    }


def judged_by(extractor: Extractor, reference: ReferenceSet) -> dict[str, Any]:
    """What a distance depends on beside the images that it judges."""
    return {
        "metric": extractor.metric,
        "extractor": extractor.name,
        "extractor_fingerprint": extractor.fingerprint,
        "reference": reference.name,
        "reference_fingerprint": reference.data_fingerprint,
        "reference_n": reference.stats.n,
        "held_out_fingerprint": reference.held_out_fingerprint,
    }


def reference_for(extractor: Extractor, reference: str | None) -> ReferenceSet:
    """The reference that ``reference`` names.

    null: the one shipped for the extractor; a reference file; or images (a folder, .zip, .npz, or
    a data set by name, whose test split is held out), whose statistics are cached by content.
    """
    if reference is not None and not reference.endswith(".safetensors"):
        images = load_images(reference, key="reference")
        return cached_reference(extractor, images, load_held_out(reference))
    path = asset(reference or f"{extractor.name}-reference")
    if reference is None and not path.is_file():
        raise InputError(
            f"reference: none is shipped for extractor {extractor.name}; give reference=FOLDER, "
            ".zip, .npz, a data set, or a file of 'sde-diffusion reference'"
        )
    return ReferenceSet.load(path, extractor)


def job(config: DictConfig, folder: Path, tags: Sequence[str] = ()) -> Job:
    """The job as a tracker hears of it: jobs of one sweep share its folder's name as group."""
    return Job(plain(config), folder, str(config.task), folder.absolute().parent.name, tags)
