"""Guidance from keywords, with the models that it names opened."""

from __future__ import annotations

from typing import Any

from sde_diffusion.config.options import Options
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.guidance import Guidance
from sde_diffusion.models.sources import open_model


def guides_of(fields: Options, guidance: Any) -> list[Guidance]:
    """The guidance of a call, one or several, the first one innermost."""
    chosen: list[Guidance] = fields.several("guidance", guidance)
    return [each.opened(worse_model) for each in chosen]


def worse_model(checkpoint: str) -> Denoiser:
    """The denoiser of a model that guidance leads away from."""
    return open_model(checkpoint).denoiser
