"""What adaptive.py asks its solvers: Gaussians and mixtures whose flow or law is known."""

from __future__ import annotations

import torch
from torch import Tensor
from weak_order import mixture
from weak_order import statistics as statistics

from sde_diffusion.data import Digits, to_float
from sde_diffusion.denoisers.closed_form import GaussianDenoiser, MixtureDenoiser
from sde_diffusion.process.sde import EDM, SDE, VE, VP, CosineVP, RectifiedFlow, SubVP

Target = GaussianDenoiser | MixtureDenoiser
F64 = torch.float64


def moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, eigenvalues and eigenvectors of the rows of x."""
    values, basis = torch.linalg.eigh(torch.cov(x.T))
    return x.mean(0), values.clamp_min(0) + 1e-5, basis


def of_digits() -> tuple[GaussianDenoiser, MixtureDenoiser]:
    """The Gaussian of the 8 x 8 digits, and a mixture with a component a class, d = 64."""
    data = Digits().load()
    x = to_float(data.images).flatten(1).to(F64)
    mean, variance, basis = moments(x)
    assert data.labels is not None
    parts = [moments(x[data.labels == k]) for k in range(10)]
    means, variances, bases = (torch.stack(part) for part in zip(*parts, strict=True))
    weights = torch.full((10,), 0.1, dtype=F64)
    return GaussianDenoiser(variance, mean, basis), MixtureDenoiser(
        weights, means, variances, bases
    )


def natural() -> GaussianDenoiser:
    """Power 1 / |f|^2 on 8 x 8 frequencies in three channels of 1 : .15 : .05, mean 1 / 4."""
    squares = torch.arange(8, dtype=F64).square()
    power = 1 / (squares[:, None] + squares).flatten().clamp_min(0.5)
    variance = torch.cat([share * power for share in (1.0, 0.15, 0.05)])
    return GaussianDenoiser(0.25 * variance / variance.mean())


def rotated(d: int, k: int, apart: float, decades: float, seed: int) -> MixtureDenoiser:
    """k components in d dimensions, centres N(0, apart^2), variances 10^-decades .. 1, rotated."""
    g = torch.Generator().manual_seed(seed)
    means = apart * torch.randn(k, d, generator=g, dtype=F64)
    variances = 10 ** (-decades * torch.rand(k, d, generator=g, dtype=F64))
    bases = torch.linalg.qr(torch.randn(k, d, d, generator=g, dtype=F64))[0]
    weights = torch.rand(k, generator=g, dtype=F64) + 0.2
    return MixtureDenoiser(weights / weights.sum(), means, variances, bases)


def points() -> MixtureDenoiser:
    """Six equal clusters of standard deviation 0.01 in 4 dimensions."""
    means = 0.5 * torch.randn(6, 4, generator=torch.Generator().manual_seed(6), dtype=F64)
    weights = torch.full((6,), 1 / 6, dtype=F64)
    return MixtureDenoiser(weights, means, torch.full((6, 4), 1e-4, dtype=F64))


def exact_statistics(target: MixtureDenoiser, sigma: float) -> Tensor:
    """Means of ``statistics`` [12] over x_0 + sigma n, for diagonal covariances."""
    v, m, w = target.variances + sigma**2, target.means, target.weights[:, None]
    cosine = torch.exp(-4.5 * v) * torch.cos(3 * m)
    return torch.cat([(w * part).sum(0) for part in (m, v + m**2, cosine)])


SDES: dict[str, SDE] = {
    "VP": VP(), "sub-VP": SubVP(), "VE": VE(), "cosine": CosineVP(), "EDM": EDM(),
    "flow": RectifiedFlow(),
}  # fmt: skip
TUNED = "mixture, d = 4 (tuned on)"
HARD = ["needles, d = 2", "clusters, d = 4"]
GAUSSIAN, MIXTURE = of_digits()
PROBLEMS: dict[str, Target] = {
    TUNED: mixture(),
    "Gaussian of digits": GAUSSIAN,
    "mixture of digits": MIXTURE,
    "Gaussian 1 / f^2, d = 192": natural(),
    "mixture, d = 32": rotated(32, 10, 0.5, 3, 3),
    HARD[0]: rotated(2, 8, 1, 5, 4),
    HARD[1]: points(),
}
