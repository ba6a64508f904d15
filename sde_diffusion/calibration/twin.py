"""A twin: a Gaussian mixture of the data, whose denoiser costs no network evaluation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import CountedDenoiser
from sde_diffusion.denoisers.closed_form import MixtureDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.images.pixels import to_float

LARGEST = 4096  # pixels an image: above, the covariances are not worth their memory
MODES = 64  # in which images are clustered
RIDGE = 1e-4  # variance added in every direction, below the quantisation of eight bits


class Twin(CountedDenoiser):
    """A mixture of vectors as the denoiser of images [N, *shape]."""

    def __init__(
        self, mixture: MixtureDenoiser, shape: tuple[int, ...], sigma_min: float, sigma_max: float
    ) -> None:
        super().__init__(shape, sigma_min, sigma_max)
        self.mixture = mixture

    def check_condition(self, cond: Condition | None) -> None:
        self.mixture.check_condition(cond)

    def denoise(self, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
        level = sigma.flatten() if sigma.ndim else sigma
        return self.mixture(x.flatten(1), level, cond).reshape(x.shape)


def mixture_twin(
    data: ImageSet, components: int, sigma_min: float, sigma_max: float, seed: int = 0
) -> Twin:
    """The exact denoiser of a mixture of Gaussians fitted to ``data``.

    ``components`` of them for each class, or for all the data where they have no labels: clusters
    by k-means in the leading principal components, each with its own mean and covariance. A label
    leaves those of its class, and guidance works on it as on a network.

    It knows nothing of what sets the network apart from its data. With four Gaussians a class, its
    rules had .41 to .55 of the error of the best standard solver on the shipped MNIST model, where
    rules of the network itself have .29 to .43; on one of the 8 x 8 digits .34 to .54 at 4 to 8
    evaluations and .92 at 10, where they have .26 to .38 (benchmarks/calibrated.md). Grid and
    coefficients of a twin belong together.

    InputError for images too large, or more components than a tenth of a class.
    """
    shape, d = tuple(data.images.shape[1:]), data.images[0].numel()
    if d > LARGEST:
        raise InputError(f"twin: images of {d} pixels, more than {LARGEST}; calibrate the network")
    own = torch.zeros(len(data), dtype=torch.int64) if data.labels is None else data.labels
    classes, counts = own.unique(return_counts=True)
    most = int(counts.min()) // 10
    if most < 1:
        raise InputError(f"twin: {int(counts.min())} images of a class; give data of 10 or more")
    if not 1 <= components <= most:
        raise InputError(
            f"twin={components}: give a number from 1 to {most}, a tenth of the images"
            f"{' of the rarest class' if len(classes) > 1 else ''}, or null"
        )
    x = to_float(data.images).flatten(1)
    _, _, v = torch.pca_lowrank(x, q=min(MODES, *x.shape), niter=4)
    weights, means, variances, bases, labels = [], [], [], [], []
    for label in classes.tolist():
        inside = x[own == label]
        for part in clusters(inside, v, components, seed):
            weights.append(len(part) / len(x))
            means.append(part.mean(0))
            centred = part - part.mean(0)
            variance, basis = torch.linalg.eigh(centred.T @ centred / len(part))
            variances.append(variance.clamp_min(0) + RIDGE)
            bases.append(basis)
            labels.append(label)
    mixture = MixtureDenoiser(
        torch.tensor(weights),
        torch.stack(means).float(),
        torch.stack(variances).float(),
        torch.stack(bases).float(),
        None if data.labels is None else torch.tensor(labels),
    )
    return Twin(mixture, shape, sigma_min, sigma_max)


def clusters(x: Tensor, basis: Tensor, number: int, seed: int) -> Iterator[Tensor]:
    """The rows of x [N, d] in ``number`` clusters or fewer, float64, by k-means in ``basis``."""
    with np.errstate(all="ignore"):
        _, cluster = kmeans2(
            (x @ basis).numpy(), number, minit="++", rng=np.random.default_rng(seed)
        )
    for k in np.unique(cluster):
        yield x[torch.from_numpy(cluster == k)].double()
