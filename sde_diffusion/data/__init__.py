"""Data sets: uint8 images, or vectors, with optional labels, identified by their content."""

from sde_diffusion.data.base import DataSource
from sde_diffusion.data.cifar10 import CIFAR10
from sde_diffusion.data.digits import Digits
from sde_diffusion.data.fashion_mnist import FashionMNIST
from sde_diffusion.data.folder import ImageFolder, image_folder
from sde_diffusion.data.huggingface import HuggingFace
from sde_diffusion.data.load import load_held_out, load_images
from sde_diffusion.data.mnist import MNIST
from sde_diffusion.data.npz import ImageNpz, image_npz
from sde_diffusion.data.scans import Phantoms, Scans
from sde_diffusion.data.shapes.source import Shapes
from sde_diffusion.data.toy import Toy
from sde_diffusion.data.vectors import Vectors
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.images.pixels import to_float, to_uint8

__all__ = [
    "CIFAR10", "MNIST", "DataSource", "Digits", "FashionMNIST", "HuggingFace", "ImageFolder",
    "ImageNpz", "ImageSet", "Phantoms", "Scans", "Shapes", "Toy", "Vectors", "image_folder",
    "image_npz", "load_held_out", "load_images", "to_float", "to_uint8",
]  # fmt: skip
