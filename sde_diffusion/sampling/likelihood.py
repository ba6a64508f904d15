"""Log-likelihood of images along the probability flow, in bits a dimension."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser, check_means
from sde_diffusion.denoisers.closed_form import GaussianDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.process.noise import Draws, Stream
from sde_diffusion.process.sde import SDE
from sde_diffusion.sampling.asked import Heard
from sde_diffusion.solvers.adaptive.dormand_prince import Slope, dormand_prince
from sde_diffusion.solvers.base import finite_rows, root_mean_square

# How much of the requested error a step may spend, fitted on small mixtures: one part in so many,
# on the state in units of its standard deviation, and on the log density a dimension.
FLOW_SHARE, TRACE_SHARE = 20, 60


@dataclass(frozen=True)
class LogDensity:
    """What ``Likelihood`` found, a row an image.

    Attributes:
        log_p: log density [N] of y = x / alpha at the least noise level, in nats.
        standard_error: of log_p, from the spread of its probes [N], in nats: 0 with the exact
            trace, not a number with a single probe.
        evaluations: denoiser calls a row, a guidance pair as two.
        products: vector-Jacobian products a row; each is the backward pass of an evaluation.
    """

    log_p: Tensor
    standard_error: Tensor
    evaluations: float
    products: float


@dataclass(frozen=True)
class Likelihood:
    """log p of images, by the change of variables along dy/du = y - D(y, e^u), u = log sigma.

    With a Gaussian reference N(m, S), whose flow and density are known, the integral runs over
    what the denoiser D differs by from that of the reference, G: with w = (S + e^2u)^-1/2 (y - m)

        dw/du = (S + e^2u)^-1/2 (G - D),
        log p(y_0) = log N(w_T; 0, I) - log det(S + sigma_0^2)^1/2 + int (tr dG/dy - tr dD/dy) du,

    which is the usual formula (Song et al., arXiv:2011.13456, appendix D.2) in coordinates where
    Gaussian data stand still, and whose prior is N(m, S + sigma_T^2 I). The trace is exact, by d
    products, or the mean of v^T (dG/dy - dD/dy) v over Rademacher vectors v (Hutchinson), each
    held along the whole flow. Every SDE has this flow, since y = x / alpha. Each row has its own
    steps, and its own probes from its own seed.
    """

    denoiser: Denoiser
    prior: GaussianDenoiser
    levels: Tensor
    error: float
    probes: int | None

    @classmethod
    def build(
        cls,
        sde: SDE,
        denoiser: Denoiser,
        prior: GaussianDenoiser,
        sigma_min: float,
        sigma_max: float,
        error: float = 1e-3,
        probes: int | None = None,
    ) -> Likelihood:
        """The likelihood of images at noise level ``sigma_min`` of ``sde``.

        Args:
            prior: the reference, ``isotropic`` or ``moment_matched``.
            error: requested error in bits a dimension, that of the probes left aside.
            probes: Rademacher vectors an image, None for the exact trace.
        """
        check_means(denoiser)
        if not denoiser.invertible:
            raise InputError(
                "guidance: clipped or thresholded images have no density; leave it out"
            )
        if not 0 < error < 1:
            raise InputError(f"error={error}: give a number of bits a dimension between 0 and 1")
        if probes is not None and probes < 1:
            raise InputError(f"probes={probes}: give a number >= 1, or null for the exact trace")
        if not 0 < sigma_min < sigma_max or not (
            denoiser.sigma_min <= sigma_min and sigma_max <= denoiser.sigma_max
        ):
            raise InputError(
                f"sigma_min={sigma_min:g}, sigma_max={sigma_max:g}: give two noise levels within "
                f"the model's range {denoiser.sigma_min:g} .. {denoiser.sigma_max:g}"
            )
        ends = torch.tensor([sigma_min, sigma_max], dtype=torch.float64)
        levels = sde.noise_level(sde.time_at(ends)).clamp(sigma_min, sigma_max)
        return cls(denoiser, prior, levels, error, probes)

    def __call__(
        self, x: Tensor, seeds: Sequence[int] | None = None, cond: Condition | None = None
    ) -> LogDensity:
        """Images x [N, *shape]; ``seeds`` name the probes, one a row (0 .. N-1 by default)."""
        self._check(x, cond)
        n, d = len(x), x[0].numel()
        v = self._vectors(range(n) if seeds is None else seeds, d, x.device)
        low, high = self.levels.tolist()
        heard, before, calls = Heard(self.denoiser), self.denoiser.evaluations, 0

        def field(rows: slice | Tensor) -> Slope:
            part = None if cond is None else cond[rows]
            probes = v[:, rows] if self.probes else v

            def slope(state: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
                nonlocal calls
                calls += len(state)
                sigma = u.exp().clamp(low, high)
                total = self.prior.variance + sigma[:, None] ** 2
                gain = self.prior.variance / total
                z = total.sqrt() * state[:, :d]  # y - m in the modes of the prior
                y = self.prior.from_modes(z).unflatten(1, x.shape[1:])
                along = probes.expand(-1, len(state), -1)
                answer, products = traced(heard, y, sigma, part, along)
                dw = (gain * z - self.prior.to_modes(answer.flatten(1))) / total.sqrt()
                traces = (gain * self._in_modes(along).square()).sum(2).T - products
                traces = traces if self.probes else traces.sum(1, keepdim=True)
                return torch.cat([dw, traces], 1), finite_rows(answer)

            return slope

        def size(error: Tensor, state: Tensor, new: Tensor, u: Tensor) -> Tensor:
            trace = TRACE_SHARE / d * error[:, d:].abs().amax(1)
            flow = FLOW_SHARE * root_mean_square(error[:, :d])
            return torch.maximum(flow, trace) / (self.error * math.log(2))

        total = self.prior.variance + low**2
        w = self.prior.to_modes(x.flatten(1).double()) / total.sqrt()
        start = torch.cat([w, w.new_zeros(n, self.probes or 1)], 1)
        key = f"error={self.error}"
        end = dormand_prince(field, start, self.levels.log(), size, self.error**0.2, key)
        heard.tell()
        integrals = end[:, d:]
        gauss = end[:, :d].square() + (2 * math.pi * total).log()
        return LogDensity(
            (integrals.mean(1) - 0.5 * gauss.sum(1)).cpu(),
            self._standard_error(integrals).cpu(),
            (self.denoiser.evaluations - before) / n,
            calls * len(v) / n,
        )

    def _check(self, x: Tensor, cond: Condition | None) -> None:
        """InputError for images or a condition that have no density here."""
        if tuple(x.shape[1:]) != self.denoiser.shape or not len(x):
            raise InputError(f"images: {tuple(x.shape)}; give [N, *{self.denoiser.shape}], N >= 1")
        if not bool(x.isfinite().all()):
            raise InputError("images: not all values are finite; give about -1 .. 1")
        self.denoiser.check_condition(cond)
        self.denoiser.check_levels(*self.levels.tolist())

    def _standard_error(self, integrals: Tensor) -> Tensor:
        """Of the mean over probes, from their spread; integrals [N, K]."""
        if self.probes is None:
            return torch.zeros_like(integrals[:, 0])
        if self.probes == 1:
            return torch.full_like(integrals[:, 0], math.nan)
        return integrals.std(1) / self.probes**0.5

    def _in_modes(self, v: Tensor) -> Tensor:
        return v if self.prior.basis is None else v @ self.prior.basis

    def _vectors(self, seeds: Sequence[int], d: int, device: torch.device) -> Tensor:
        """Rademacher vectors [K, N, d], or all unit vectors [d, 1, d], float64."""
        if self.probes is None:
            return torch.eye(d, dtype=torch.float64, device=device)[:, None]
        bits = Draws.of_seeds(seeds, device).whole(Stream.PROBES, 0, (self.probes, d), 2)
        return (2 * bits - 1).double().transpose(0, 1)


def traced(
    denoiser: Denoiser, y: Tensor, sigma: Tensor, cond: Condition | None, v: Tensor
) -> tuple[Tensor, Tensor]:
    """D(y) [N, *shape], and v^T (dD/dy) v [N, K] for the vectors ``v`` [K, N, d]."""
    with torch.enable_grad():
        y = y.detach().requires_grad_()
        answer = denoiser(y, sigma, cond)
        products = []
        for k, v_k in enumerate(v):
            more = k < len(v) - 1
            (product,) = torch.autograd.grad(answer.flatten(1), y, v_k, retain_graph=more)
            products.append((product.flatten(1) * v_k).sum(1))
    return answer.detach(), torch.stack(products, 1)


def isotropic(d: int) -> GaussianDenoiser:
    """The reference without data, N(0, sigma^2 I): leaves out what is left of them at sigma_T."""
    return GaussianDenoiser(torch.zeros(d, dtype=torch.float64))


def moment_matched(mean: Tensor, covariance: Tensor) -> GaussianDenoiser:
    """The reference with the moments of the data, [d] and [d, d]: N(m, S + sigma^2 I)."""
    variance, basis = torch.linalg.eigh(covariance.double())
    return GaussianDenoiser(variance.clamp_min(0), mean.double(), basis)


def dequantise(images: Tensor, seeds: Sequence[int]) -> Tensor:
    """uint8 images [N, *shape] -> (k + u) / 128 - 1, float64, u uniform on (0, 1) of each seed.

    The density of these is a lower bound on the probability of the grey levels k (Theis et al.,
    arXiv:1511.01844); levels are 2 / 256 apart, so the offset of bits a dimension is 7.
    """
    u = Draws.of_seeds(seeds, images.device).uniform(Stream.DEQUANTISE, 0, images.shape[1:])
    return (images.double() + u) / 128 - 1


def bits_per_dim(nats: Tensor, d: int, spacing: float = 2 / 256) -> Tensor:
    """-log2 p / d - log2 spacing, from log densities in nats; 7 is the offset of 256 levels."""
    return -nats / (d * math.log(2)) - math.log2(spacing)
