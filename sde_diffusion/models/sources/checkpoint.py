"""Our own checkpoints: sealed safetensors."""

from __future__ import annotations

from pathlib import Path

import torch

from sde_diffusion.errors import InputError
from sde_diffusion.models import inert
from sde_diffusion.models.file import load_denoiser
from sde_diffusion.models.opened import OpenedModel
from sde_diffusion.models.sources.latents.autoencoder import codec_of
from sde_diffusion.models.sources.strangers import UNKNOWN, of_safetensors


def recognised(path: Path) -> bool:
    """Whether it is a file of safetensors, ours or a damaged one: the reader says which."""
    if not path.is_file() or inert.is_pickle(path):
        return False
    with path.open("rb") as file:
        begins = file.read(9)[8:] == b"{"
    return (begins or path.suffix == ".safetensors") and of_safetensors(path) != UNKNOWN


def opened(path: Path, dtype: torch.dtype, codec: str | None = None) -> OpenedModel:
    """The model of a file that ``train``, ``ema`` or ``convert`` wrote.

    Args:
        codec: the folder of the autoencoder whose latents it draws, where it does not lie beside.
    """
    if (stranger := of_safetensors(path)) is not None:
        raise InputError(f"checkpoint={path}: {stranger}")
    spec, denoiser = load_denoiser(path, dtype)
    return OpenedModel(
        denoiser,
        str(path),
        denoiser.source,
        spec.conditioner,
        codec_of(spec, path, codec),
        grid=spec.grid,
        spec=spec,
    )
