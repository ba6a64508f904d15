"""Noise: a pure function of (seed, stream, draw, position)."""

from sde_diffusion.process.noise.brownian import Brownian, PathNoise
from sde_diffusion.process.noise.draws import Draws
from sde_diffusion.process.noise.revealed import RevealedPath
from sde_diffusion.process.noise.seeds import checked_seed, checked_seeds, seed_array
from sde_diffusion.process.noise.source import Noise, NoiseSource, Seeds, StepNoise
from sde_diffusion.process.noise.streams import VERSION, Stream
from sde_diffusion.process.noise.training import BatchDraws, derived_seed, permutation

__all__ = [
    "VERSION",
    "BatchDraws",
    "Brownian",
    "Draws",
    "Noise",
    "NoiseSource",
    "PathNoise",
    "RevealedPath",
    "Seeds",
    "StepNoise",
    "Stream",
    "checked_seed",
    "checked_seeds",
    "derived_seed",
    "permutation",
    "seed_array",
]
