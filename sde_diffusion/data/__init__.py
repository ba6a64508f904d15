"""Image data sets: uint8 images with optional labels, identified by their content."""

from sde_diffusion.data.images import ImageSet, to_float, to_uint8
from sde_diffusion.data.mnist import mnist

__all__ = ["ImageSet", "mnist", "to_float", "to_uint8"]
