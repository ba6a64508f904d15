"""The spectrum of a set of images: principal components, or the discrete cosine transform."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from scipy.fft import dctn
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.errors import InputError
from sde_diffusion.exact import Gaussian
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.images.pixels import to_float
from sde_diffusion.metrics.stats import FeatureStats
from sde_diffusion.process.spectrum import DataSpectrum
from sde_diffusion.system.bars import hidden

LARGEST = 4096  # dimensions whose covariance is worth its time and memory
CHUNK = 1000


def pca(images: ImageSet) -> DataSpectrum:
    """Eigenvalues of the covariance of the pixels in [-1, 1], streamed in float64."""
    d = images.images[0].numel()
    if d > LARGEST:
        raise InputError(
            f"modes=pca: {d} pixels an image, more than {LARGEST}; set modes=dct, or resize "
            "(data=folder data.size=32)"
        )
    stats = FeatureStats.empty(d)
    for x in _chunks(images):
        stats = stats.update(x.flatten(1))
    gaussian = Gaussian.of(stats.cov, stats.mean)
    return _sorted(gaussian.variance, gaussian.mode_mean, images.name, "pca")


def dct(images: ImageSet) -> DataSpectrum:
    """Power of the orthonormal cosine modes of the pixels, channels decorrelated first.

    Close to the principal components where what an image shows may stand anywhere in it; for any
    number of pixels.
    """
    if images.images.ndim != 4:
        raise InputError(f"modes=dct: {images.name} has no pixels side by side; set modes=pca")
    c = images.images.shape[1]
    colours = FeatureStats.empty(c)
    for x in _chunks(images):
        colours = colours.update(x.transpose(0, 1).flatten(1).T)
    basis = Gaussian.of(colours.cov).basis
    assert basis is not None  # a matrix was given
    n, mean, m2 = 0, torch.zeros(1), torch.zeros(1)
    for x in _chunks(images):
        turned = torch.einsum("nchw,ck->nkhw", x, basis)
        modes = torch.from_numpy(dctn(turned.numpy(), axes=(2, 3), norm="ortho")).flatten(1)
        # Chan's rule, as in FeatureStats, on the diagonal alone.
        delta, squares = modes.mean(0) - mean, (modes - modes.mean(0)).square().sum(0)
        total = n + len(modes)
        m2 = m2 + squares + delta.square() * (n * len(modes) / total)
        n, mean = total, mean + delta * (len(modes) / total)
    return _sorted(m2 / (n - 1), mean, images.name, "dct")


MODES = {"pca": pca, "dct": dct}


def _chunks(images: ImageSet) -> Iterator[Tensor]:
    """Batches [N, C, H, W] float64 in [-1, 1], with a progress bar where there are many."""
    if len(images) < 2:
        raise InputError(f"data: {len(images)} image; give at least 2")
    rows = range(0, len(images), CHUNK)
    bar = tqdm(
        rows, desc="covariance", unit_scale=CHUNK, unit="image", disable=hidden(len(rows) >= 10)
    )
    return (to_float(images.images[k : k + CHUNK]).double() for k in bar)


def _sorted(variance: Tensor, mean: Tensor, name: str, kind: str) -> DataSpectrum:
    order = variance.argsort(descending=True)
    return DataSpectrum(variance[order], mean[order], name, kind)
