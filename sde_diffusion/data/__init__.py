"""Data sets: uint8 images, or vectors, with optional labels, identified by their content."""

from sde_diffusion.data.cifar10 import cifar10
from sde_diffusion.data.digits import digits
from sde_diffusion.data.fashion_mnist import fashion_mnist
from sde_diffusion.data.folder import image_folder
from sde_diffusion.data.huggingface import huggingface
from sde_diffusion.data.load import load_held_out, load_images
from sde_diffusion.data.mnist import mnist
from sde_diffusion.data.npz import image_npz
from sde_diffusion.data.toy import toy
from sde_diffusion.data.vectors import vectors
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.images.pixels import to_float, to_uint8

__all__ = [
    "ImageSet", "cifar10", "digits", "fashion_mnist", "huggingface", "image_folder", "image_npz",
    "load_held_out", "load_images", "mnist", "to_float", "to_uint8", "toy", "vectors",
]  # fmt: skip
