"""Pixels along the directions in which real images vary most."""

from __future__ import annotations

import hashlib
from typing import Annotated

import torch
from torch import Tensor

from sde_diffusion.data.load import load_images
from sde_diffusion.errors import InputError
from sde_diffusion.metrics.extractors.base import Extractor
from sde_diffusion.metrics.stats import FeatureStats
from sde_diffusion.system.ranges import Within

# Part of the fingerprint: to be raised with any change of what the same images give.
PROTOCOL = "pca 1; x / 255; float64"
FIT_IMAGES = 10_000
MAX_PIXELS = 4096


class PcaExtractor(Extractor):
    """Projections (x / 255 - mean) V on the ``dim`` leading eigenvectors V of pixel covariance.

    The Fréchet distance is then that of pixels in these directions, with no network between. Of
    few images the directions fit their noise, and all other images are far: give many.

    Args:
        fit: the images that mean and V are of: a folder, .zip, .npz or a data set by name; of more
            than 10,000 a fixed random choice. Of up to 4,096 values an image.
        dim: number of directions.
    """

    def __init__(self, fit: str, dim: Annotated[int, Within("1 <= dim <= 65536")] = 64) -> None:
        data = load_images(fit, key="extractor.fit")
        self.shape, pixels = tuple(data.images.shape[1:]), data.images[0].numel()
        most = min(pixels, len(data) - 1)
        if pixels > MAX_PIXELS:
            raise InputError(f"extractor.fit={fit}: {pixels} values an image, over {MAX_PIXELS}")
        if not 1 <= dim <= most:
            raise InputError(f"extractor.dim={dim}: give a number from 1 to {most}")
        self.dim, self.name = dim, f"pca{dim}"
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
        stats = FeatureStats.empty(pixels)
        for rows in order[:FIT_IMAGES].split(1000):
            stats = stats.update(data.images[rows].flatten(1).double() / 255)
        self.mean = stats.mean
        vectors = torch.linalg.eigh(stats.cov).eigenvectors.flip(1)[:, :dim]
        # An eigenvector's sign is free: the largest entry is made positive.
        signs = vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()
        self.directions = vectors * signs
        content = f"{PROTOCOL} {data.fingerprint} {FIT_IMAGES} {dim}"
        self.fingerprint = hashlib.sha256(content.encode()).hexdigest()[:16]

    def extract(self, images: Tensor) -> Tensor:
        if tuple(images.shape[1:]) != self.shape:
            raise InputError(
                f"extractor=pca: fitted to images {self.shape}, not {tuple(images.shape[1:])}; "
                "set extractor.fit to images of that shape"
            )
        return (images.flatten(1).double() / 255 - self.mean) @ self.directions
