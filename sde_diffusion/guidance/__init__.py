"""Guidance: ways to ask a denoiser, composed in the order they are listed."""

from sde_diffusion.guidance.base import Guidance, Guided, guided
from sde_diffusion.guidance.cfg import ClassifierFree
from sde_diffusion.guidance.clip import Clip

__all__ = ["ClassifierFree", "Clip", "Guidance", "Guided", "guided"]
