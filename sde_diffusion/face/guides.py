"""Guidance from keywords, with the models that it names opened."""

from __future__ import annotations

from typing import Any

from sde_diffusion.config.options import Options
from sde_diffusion.guidance import Guidance
from sde_diffusion.models.sources import denoiser_of


def guides_of(fields: Options, guidance: Any) -> list[Guidance]:
    """The guidance of a call, one or several, the first one innermost."""
    chosen: list[Guidance] = fields.several("guidance", guidance)
    return [each.opened(denoiser_of) for each in chosen]
