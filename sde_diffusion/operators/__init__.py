"""Measurements of states, y = A(x) + noise n: linear ones with their adjoints, and others."""

from sde_diffusion.operators.base import LinearMap, Map, Operator
from sde_diffusion.operators.blur import GaussianBlur, MotionBlur
from sde_diffusion.operators.composed import Composed, Function
from sde_diffusion.operators.fourier import Cartesian, Radial
from sde_diffusion.operators.grey import Grey
from sde_diffusion.operators.masks import Box, Mask, Random
from sde_diffusion.operators.matrix import Matrix
from sde_diffusion.operators.measurement import with_measurement
from sde_diffusion.operators.phase import PhaseRetrieval
from sde_diffusion.operators.projection import FanBeam, ParallelBeam
from sde_diffusion.operators.quantise import Quantise
from sde_diffusion.operators.resampling import Downsample
from sde_diffusion.operators.spectrum import Spectrum

__all__ = [
    "Box", "Cartesian", "Composed", "Downsample", "FanBeam", "Function", "GaussianBlur", "Grey",
    "LinearMap", "Map", "Mask", "Matrix", "MotionBlur", "Operator", "ParallelBeam",
    "PhaseRetrieval", "Quantise", "Radial", "Random", "Spectrum", "with_measurement",
]  # fmt: skip
