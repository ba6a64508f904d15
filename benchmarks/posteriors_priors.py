"""Priors with exact posteriors, and the measurements of them: what posteriors.py is asked on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from sde_diffusion import MNIST, Cartesian, Downsample, GaussianBlur, Random
from sde_diffusion.denoisers.base import CountedDenoiser
from sde_diffusion.denoisers.closed_form import MixtureDenoiser
from sde_diffusion.images.pixels import to_float
from sde_diffusion.operators import Map, Operator
from sde_diffusion.operators.matrix import MatrixMap

DOUBLE = torch.float64
KINDS = ("mask", "blur", "4x", "Fourier")


class Dense(Operator):
    """A matrix as an operator."""

    def __init__(self, matrix: Tensor, noise: float) -> None:
        self.matrix, self.noise = matrix, noise

    def make(self, shape: Sequence[int], aside: object) -> Map:
        return MatrixMap(self.matrix, shape, (len(self.matrix),))


class Prior(ABC):
    """A law of x [d] with its denoiser, and its posterior given y = A x + noise n."""

    name: str
    noises: tuple[float, ...] = (0.1, 0.5)
    measured: int  # how many y; each is drawn n times by a method
    draws: int
    denoiser: CountedDenoiser

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """n draws [n, d]."""

    @abstractmethod
    def matrix(self, kind: str) -> Tensor:
        """A [m, d] of one of ``KINDS``."""

    @abstractmethod
    def posterior(
        self, a: Tensor, noise: float, ys: Tensor, n: int, generator: torch.Generator
    ) -> Tensor:
        """n draws for each y of ys [Y, m], [Y, n, d]."""


class FastMixture(MixtureDenoiser):
    """The same for diagonal covariances, by products of matrices: no array [N, K, d]."""

    def denoise(self, x: Tensor, sigma: Tensor, cond: object) -> Tensor:
        total = self.variances + sigma**2
        inverse = 1 / total
        logs = x @ (self.means * inverse).T - 0.5 * x.square() @ inverse.T
        logs = (
            logs + self.weights.log() - 0.5 * (self.means.square() * inverse + total.log()).sum(1)
        )
        r, gain = logs.softmax(1), self.variances * inverse
        return r @ (self.means * (1 - gain)) + x * (r @ gain)


class Mixture(Prior):
    """sum_k w_k N(m_k, diag v_k): its posterior is one too, by enumeration of the components."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return self.denoiser.sample(n, generator)

    def posterior(
        self, a: Tensor, noise: float, ys: Tensor, n: int, generator: torch.Generator
    ) -> Tensor:
        m, v = self.denoiser.means, self.denoiser.variances
        logs, gains = [], []
        for k in range(len(m)):
            total = (a * v[k]) @ a.T + noise**2 * torch.eye(len(a), dtype=DOUBLE)
            root = torch.linalg.cholesky(total)
            r = torch.linalg.solve_triangular(root, (ys - m[k] @ a.T).T, upper=False)
            logs.append(-0.5 * r.square().sum(0) - root.diagonal().log().sum())
            gains.append(torch.cholesky_solve(a * v[k], root).T)  # V A^T C^-1 [d, m]
        w = (self.denoiser.weights.log() + torch.stack(logs, 1)).softmax(1)
        ks = torch.multinomial(w, n, replacement=True, generator=generator)
        x = m[ks] + v[ks].sqrt() * torch.randn(
            *ks.shape, m.shape[1], generator=generator, dtype=DOUBLE
        )
        seen = noise * torch.randn(*ks.shape, len(a), generator=generator, dtype=DOUBLE)
        r = ys[:, None] - x @ a.T - seen
        for k in range(len(m)):  # a draw of the prior, moved by what it would have measured
            rows = ks == k
            x[rows] += r[rows] @ gains[k].T
        return x


PLANE = {
    "mask": [[1.0, 0.0]], "blur": [[0.8, 0.4], [0.4, 0.8]], "4x": [[0.5, 0.5]],
    "Fourier": [[0.7071, -0.7071]],
}  # fmt: skip


class Plane(Mixture):
    """Three Gaussians in the plane."""

    name, measured, draws = "mixture, d = 2", 60, 19

    def __init__(self) -> None:
        self.denoiser = FastMixture(
            torch.tensor([0.3, 0.5, 0.2], dtype=DOUBLE),
            torch.tensor([[-1.0, 0.0], [1.0, 0.8], [0.6, -1.0]], dtype=DOUBLE),
            torch.tensor([[0.02, 0.1], [0.1, 0.03], [0.05, 0.05]], dtype=DOUBLE),
        )

    def matrix(self, kind: str) -> Tensor:
        return torch.tensor(PLANE[kind], dtype=DOUBLE)


class PlaneGaussian(Plane):
    """One Gaussian in the plane, longer than it is wide."""

    name = "Gaussian, d = 2"

    def __init__(self) -> None:
        mean, variances = torch.tensor([[0.3, -0.2]]), torch.tensor([[0.6, 0.08]])
        self.denoiser = FastMixture(torch.ones(1, dtype=DOUBLE), mean.double(), variances.double())


class DigitsMixture(Mixture):
    """50 Gaussians fitted to 5,000 of MNIST's training images, diagonal in their principal axes."""

    name, noises, measured, draws = "mixture of digits, d = 784", (0.05, 0.2), 8, 19
    components, floor = 50, 0.02

    def __init__(self) -> None:
        images = to_float(MNIST().load().images[:5000]).double().flatten(1)
        self.axes = torch.linalg.eigh(torch.cov(images.T)).eigenvectors.flip(1)
        z = images @ self.axes
        centres = z[:: len(z) // self.components][: self.components].clone()
        for _ in range(10):  # Lloyd's
            nearest = torch.cdist(z, centres).argmin(1)
            centres = torch.stack([z[nearest == k].mean(0) for k in range(self.components)])
        spread = [z[nearest == k].var(0) for k in range(self.components)]
        weights = nearest.bincount(minlength=self.components).double() / len(z)
        self.denoiser = FastMixture(weights, centres, torch.stack(spread) + self.floor**2)

    def matrix(self, kind: str) -> Tensor:
        operator = {
            "mask": Random(0.3), "blur": GaussianBlur(1.5), "4x": Downsample(4),
            "Fourier": Cartesian(4.0),
        }[kind]  # fmt: skip
        rows = operator.measure(self.axes.T.reshape(784, 1, 28, 28)).flatten(1).T
        return rows[rows.square().sum(1) > 1e-12]


class DigitsGaussian(DigitsMixture):
    """One Gaussian of the mean and the covariance of the same images."""

    name, components = "Gaussian of digits, d = 784", 1
