"""Guidance: wrappers Denoiser -> Denoiser, composed in the order they are listed."""

from sde_diffusion.guidance.base import Guidance
from sde_diffusion.guidance.cfg import ClassifierFree
from sde_diffusion.guidance.clip import Clip

__all__ = ["ClassifierFree", "Clip", "Guidance"]
