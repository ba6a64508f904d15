"""Problems whose posteriors are known: Gaussian, and a mixture by enumeration."""

from __future__ import annotations

import torch
from torch import Tensor

from sde_diffusion import operators
from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.denoisers.closed_form import GaussianDenoiser, MixtureDenoiser
from sde_diffusion.guidance import Guidance, guided
from sde_diffusion.operators import Operator, with_measurement
from sde_diffusion.process.grids import Karras
from sde_diffusion.process.sde import EDM, SDE
from sde_diffusion.sampling.execute import Execution
from sde_diffusion.sampling.sampler import Request, Sampler
from sde_diffusion.sampling.samples import Samples
from sde_diffusion.solvers.base import Solver

DOUBLE = torch.float64


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=DOUBLE)


def tensor(values: object) -> Tensor:
    return torch.tensor(values, dtype=DOUBLE)


MIXTURE = MixtureDenoiser(
    tensor([0.3, 0.5, 0.2]),
    tensor([[-1.0, 0.0], [1.0, 0.8], [0.6, -1.0]]),
    tensor([[0.02, 0.1], [0.1, 0.03], [0.05, 0.05]]),
)
ROTATION = torch.linalg.qr(normal(4, 4, seed=5)).Q
GAUSSIAN = GaussianDenoiser(tensor([1.0, 0.5, 0.1, 0.02]), tensor([0.5, 0.0, -1.0, 2.0]), ROTATION)
ROWS = operators.Matrix([[1.0, 0.5, 0.0, -1.0], [0.0, 1.0, 1.0, 0.0]], noise=0.3)


def covariance() -> Tensor:
    """Of ``GAUSSIAN`` [4, 4]."""
    return ROTATION @ GAUSSIAN.variance.diag() @ ROTATION.T


def condition(mean: Tensor, cov: Tensor, a: Tensor, noise: float, y: Tensor) -> tuple[Tensor, ...]:
    """Mean and covariance of N(mean, cov) given y = A x + noise n, and log N(y; A mean, ...)."""
    total = a @ cov @ a.T + noise**2 * torch.eye(len(a), dtype=DOUBLE)
    gain = cov @ a.T @ torch.linalg.inv(total)
    r = y - a @ mean
    log = -0.5 * (r @ torch.linalg.solve(total, r) + torch.logdet(total))
    return mean + gain @ r, cov - gain @ a @ cov, log


def mixture_posterior(a: Tensor, noise: float, y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of ``MIXTURE`` given y, by enumeration of its components."""
    parts = [
        condition(m, v.diag(), a, noise, y)
        for m, v in zip(MIXTURE.means, MIXTURE.variances, strict=True)
    ]
    means, covs, logs = (torch.stack(part) for part in zip(*parts, strict=True))
    w = (MIXTURE.weights.log() + logs).softmax(0)
    mean = w @ means
    spread = means - mean
    return mean, (w[:, None, None] * (covs + spread[:, :, None] * spread[:, None])).sum(0)


def draws(
    denoiser: Denoiser,
    solver: Solver,
    cond: Condition | None,
    nfe: int,
    n: int,
    guidance: Guidance | None = None,
    sde: SDE | None = None,
) -> Samples:
    """n draws on Karras's grid in float64, seeds 0 .. n - 1."""
    asked = denoiser if guidance is None else guided(denoiser, [guidance])
    sampler = Sampler.build(sde or EDM(), asked, solver, Karras())
    return sampler.sample(Request(range(n), nfe, cond), Execution(n, DOUBLE))


def measured(operator: Operator, y: Tensor, n: int) -> Condition:
    """The condition of n rows that all have the measurement y [*out]."""
    return with_measurement(y.expand(n, *y.shape))
