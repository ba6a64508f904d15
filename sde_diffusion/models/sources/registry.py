"""From a path to a model: what the content of a file or folder says that it is.

Each kind of source is a module that is imported when a path is of its kind.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import torch

from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.denoisers.precision import checked
from sde_diffusion.errors import InputError
from sde_diffusion.models.opened import OpenedModel
from sde_diffusion.models.sources.hub import NAME, fetched
from sde_diffusion.models.sources.hub import PREFIX as HUB
from sde_diffusion.models.sources.strangers import told
from sde_diffusion.system.annotations import fits, shown, wanted
from sde_diffusion.system.spelling import did_you_mean
from sde_diffusion.system.storage import NO_MODEL, asset, shipped


@dataclass(frozen=True)
class Source:
    """A kind of file or folder.

    Attributes:
        name: what it is called.
        module: has ``recognised(path) -> bool``, which reads little, and
            ``opened(path, dtype, **options) -> OpenedModel``.
    """

    name: str
    module: str

    def recognised(self, path: Path) -> bool:
        """Whether the content of ``path`` is of this kind."""
        return bool(import_module(self.module).recognised(path))

    def opened(self, path: Path, dtype: torch.dtype, **options: Any) -> OpenedModel:
        """The model of a path of this kind; InputError names what is wrong."""
        opened = import_module(self.module).opened
        takes = list(inspect.signature(opened).parameters)[2:]
        for option in options:
            if option not in takes:
                near = did_you_mean(option, [*takes, *EVERY_KIND])
                remedy = f"it takes {', '.join(takes)}" if takes else "leave it out"
                raise InputError(f"{option}: {self.name} has no such option; {near}{remedy}")
        hints = get_type_hints(opened)
        for option, value in options.items():
            if not fits(value, hints[option]):
                raise InputError(f"{option}={shown(repr(value))}: give {wanted(hints[option])}")
        model: OpenedModel = opened(path, dtype, **options)
        return model


# What ``load`` takes for every kind.
EVERY_KIND = ("dtype", "precision", "channels_last", "compile")
SOURCES: Sequence[Source] = (
    Source("a training run's folder", "sde_diffusion.models.sources.run_folder"),
    Source("a checkpoint", "sde_diffusion.models.sources.checkpoint"),
    Source("a folder of diffusers", "sde_diffusion.models.sources.diffusers"),
    Source("a pickle of EDM or EDM2", "sde_diffusion.models.sources.edm"),
    Source("a file of ADM (guided-diffusion)", "sde_diffusion.models.sources.adm"),
    Source("a file of score_sde", "sde_diffusion.models.sources.score_sde"),
    Source("a file of DiT or SiT", "sde_diffusion.models.sources.dit"),
)


def open_model(
    checkpoint: str | Path,
    dtype: torch.dtype = torch.float32,
    *,
    precision: str | torch.dtype = "float32",
    **options: Any,
) -> OpenedModel:
    """The model that ``checkpoint`` names: a shipped one, a file or a folder.

    Args:
        checkpoint: the name of a shipped model, a path, or hub:OWNER/NAME.
        dtype: of the network's weights.
        precision: of its products: ``float32``, or ``bfloat16``, twice as fast where the processor
            has it; weights and states keep their dtype.
        options: what only some kinds of source take.
    """
    named = checked(precision)
    path = _found(str(checkpoint))
    for source in SOURCES:
        if source.recognised(path):
            model = replace(source.opened(path, dtype, **options), name=str(checkpoint))
            model.denoiser.precision = named
            return model
    if (stranger := told(path)) is not None:
        raise InputError(f"checkpoint={checkpoint}: {stranger}")
    kinds = ", ".join(source.name for source in SOURCES)
    raise InputError(f"checkpoint={checkpoint}: is none of: {kinds}; give one of these")


def _found(checkpoint: str) -> Path:
    """What there is of that name; InputError for nothing, and for what has no content to read."""
    what = f"a file of 'sde-diffusion train', the folder of its run, or one of {shipped()}"
    if not checkpoint.strip():
        raise InputError(f"checkpoint=: an empty path; give {what}")
    # Not every shell does so behind an equals sign.
    path = (
        fetched(checkpoint) if checkpoint.startswith(HUB) else asset(os.path.expanduser(checkpoint))
    )
    try:
        there = path.exists()
    except (OSError, ValueError):  # longer than any name, say
        there = False
    if not there:
        near = did_you_mean(checkpoint, shipped(), 0.8)
        raise InputError(
            f"checkpoint={shown(checkpoint, 200)}: no such file or folder; {near}give {what}"
            f"{_on_the_hub(checkpoint)}"
        )
    if NO_MODEL.fullmatch(checkpoint) and path != Path(checkpoint):
        raise InputError(f"checkpoint={checkpoint}: shipped, and no model; give one of {shipped()}")
    if not path.is_dir() and not path.is_file():  # a pipe would never end
        raise InputError(f"checkpoint={checkpoint}: no plain file; give {what}")
    return path


def _on_the_hub(address: str) -> str:
    """What to type of a name of the Hub, or its address."""
    name = address.removeprefix("https://huggingface.co/").rstrip("/")
    return f", or {HUB}{name} of the Hub" if NAME.fullmatch(name) else ""


def denoiser_of(checkpoint: str) -> Denoiser:
    """The denoiser of the model that ``checkpoint`` names, which guidance leads away from, say."""
    return open_model(checkpoint).denoiser
