"""Feature extractors: uint8 images -> features, each with a fingerprint of all it depends on."""

from sde_diffusion.metrics.extractors.base import Extractor
from sde_diffusion.metrics.extractors.cnn import CnnExtractor
from sde_diffusion.metrics.extractors.inception import InceptionExtractor
from sde_diffusion.metrics.extractors.pca import PcaExtractor
from sde_diffusion.metrics.extractors.pixel import PixelExtractor
from sde_diffusion.metrics.extractors.random_conv import RandomConvExtractor
from sde_diffusion.metrics.extractors.torchscript import TorchScriptExtractor

__all__ = [
    "CnnExtractor", "Extractor", "InceptionExtractor", "PcaExtractor", "PixelExtractor",
    "RandomConvExtractor", "TorchScriptExtractor",
]  # fmt: skip
