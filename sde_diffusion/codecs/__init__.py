"""Between the space of a model and pictures."""

from sde_diffusion.codecs.base import PIXELS, Codec

__all__ = ["PIXELS", "Codec"]
