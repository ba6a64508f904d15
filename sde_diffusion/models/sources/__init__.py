"""Where models come from: one module a kind of file or folder."""

from sde_diffusion.models.sources.registry import SOURCES, Source, denoiser_of, open_model

__all__ = ["SOURCES", "Source", "denoiser_of", "open_model"]
