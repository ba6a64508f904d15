"""From a spec and converted weights to an opened model: what all sources of others' files share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sde_diffusion.denoisers.space import Kind
from sde_diffusion.errors import InputError
from sde_diffusion.models import inert
from sde_diffusion.models.file import shapes
from sde_diffusion.models.opened import MOST, Finding, OpenedModel
from sde_diffusion.models.sources.strangers import UNKNOWN, of_safetensors
from sde_diffusion.models.sources.weights import safetensors_of
from sde_diffusion.models.spec import Spec
from sde_diffusion.system.storage import fingerprint


def names_layers(path: Path, *names: bytes) -> bool:
    """Whether it is a torch file, or one of safetensors that is nobody else's, of these layers."""
    readable = inert.is_pickle(path) or (path.is_file() and of_safetensors(path) == UNKNOWN)
    return readable and inert.mentions(path, *names)


def content_of(path: Path) -> Any:
    """What is in such a file; nothing of it runs."""
    return inert.read(path) if inert.is_pickle(path) else safetensors_of(path)


def shapes_of(spec: Spec) -> dict[str, torch.Size]:
    """Shapes of the network's weights, without memory; InputError where arguments make none."""
    return shapes(spec)


def check_size(size: int, widths: Sequence[int]) -> None:
    """InputError for images whose side a network of these levels does not halve evenly."""
    multiple = 2 ** (len(widths) - 1)
    if not 1 <= size <= MOST or size % multiple:
        raise InputError(
            f"size={size}: the network has {len(widths)} levels; give a multiple of {multiple}, "
            f"at most {MOST}"
        )


def refuse_latents(spec: Spec) -> None:
    """InputError for a model of an autoencoder's latents, which would be drawn as pictures."""
    if spec.kind == Kind.LATENTS.value:
        raise InputError(
            f"its states are latents of {spec.shape[0]} channels, whose autoencoder is not in the "
            "file and not read yet; give a model of pixels, as EDM2's edm2-img64-*.pkl"
        )


def build(
    path: Path,
    spec: Spec,
    weights: dict[str, Tensor],
    dtype: torch.dtype,
    findings: tuple[Finding, ...],
) -> OpenedModel:
    """The model of a foreign file, in evaluation mode.

    Args:
        weights: of our network, checked against its shapes. dtype: that they get.
        findings: what was read off the file.
    """
    try:
        denoiser = spec.build()
    except InputError as error:
        raise InputError(f"checkpoint={path}: {error}") from error
    denoiser.network.load_state_dict(weights)
    denoiser.network.to(dtype)
    denoiser.source = fingerprint(path)
    denoiser.eval().requires_grad_(False)
    return OpenedModel(
        denoiser,
        str(path),
        denoiser.source,
        spec.conditioner,
        findings=findings,
        grid=spec.grid,
        spec=spec,
    )


def unsaid(what: str, option: str, choices: str) -> InputError:
    """The refusal of a file that does not say what a source must know, and how to say it."""
    return InputError(
        f"{what}; give {option}={choices}, as load(PATH, {option}=...) or "
        f"'sde-diffusion convert checkpoint=PATH source={{{option}:...}} output=mine.safetensors'"
    )
