"""Guidance: ways to ask a denoiser, composed in the order they are listed."""

from sde_diffusion.guidance.auto import Auto
from sde_diffusion.guidance.base import Guidance, Guided, guided
from sde_diffusion.guidance.cfg import ClassifierFree
from sde_diffusion.guidance.classifier import ClassifierGradient
from sde_diffusion.guidance.clip import Clip
from sde_diffusion.guidance.dps import DPS
from sde_diffusion.guidance.interval import Interval
from sde_diffusion.guidance.mmps import MMPS
from sde_diffusion.guidance.pigdm import PiGDM
from sde_diffusion.guidance.projected import Projected
from sde_diffusion.guidance.rescaled import Rescaled
from sde_diffusion.guidance.threshold import Threshold
from sde_diffusion.guidance.tmpd import TMPD

__all__ = [
    "DPS",
    "MMPS",
    "TMPD",
    "Auto",
    "ClassifierFree",
    "ClassifierGradient",
    "Clip",
    "Guidance",
    "Guided",
    "Interval",
    "PiGDM",
    "Projected",
    "Rescaled",
    "Threshold",
    "guided",
]
