"""Mixtures whose conditional and tilted laws are known, and distances of samples from a law.

In the first two coordinates six components lie in three classes; the others have one normal law.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import CountedDenoiser
from sde_diffusion.denoisers.closed_form import MixtureDenoiser
from sde_diffusion.metrics.sliced_w2 import SlicedW2

F64 = torch.float64
WEIGHTS = (0.2, 0.13, 0.2, 0.13, 0.2, 0.14)
CENTRES = ((-0.1, 0.1), (0.8, 0.3), (-0.5, 0.5), (0.1, 0.9), (-0.3, -0.5), (0.5, -0.5))
DEVIATIONS = ((0.3, 0.2), (0.15, 0.2), (0.25, 0.25), (0.2, 0.2), (0.3, 0.2), (0.2, 0.25))
LABELS = (0, 0, 1, 1, 2, 2)
OTHERS = 0.3  # deviation of all other coordinates
WORSE = 1.5  # by which the worse model of autoguidance has its components wider in the plane
ASKED = 0  # the class
PLANE = 2


def mixture(wider: float = 1.0) -> MixtureDenoiser:
    """The law of the data in the plane; ``wider`` multiplies deviations."""
    deviations = wider * torch.tensor(DEVIATIONS, dtype=F64)
    return MixtureDenoiser(
        torch.tensor(WEIGHTS, dtype=F64),
        torch.tensor(CENTRES, dtype=F64),
        deviations.square(),
        labels=torch.tensor(LABELS),
    )


class Product(CountedDenoiser):
    """The plane's mixture, and N(0, OTHERS^2) of each of the other coordinates: exact, in d."""

    def __init__(self, d: int, wider: float = 1.0) -> None:
        super().__init__((d,), 0.0, math.inf)
        self.plane = mixture(wider)

    def denoise(self, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
        plane = self.plane.denoise(x[:, :PLANE], sigma, cond)
        return torch.cat([plane, x[:, PLANE:] * OTHERS**2 / (OTHERS**2 + sigma**2)], 1)


def conditional(law: MixtureDenoiser) -> MixtureDenoiser:
    """p(x | c) of the class that is asked for."""
    of = law.labels == ASKED
    weights = law.weights[of] / law.weights[of].sum()
    return MixtureDenoiser(weights, law.means[of], law.variances[of])


@cache
def exact(scale: float, wider: float, n: int, seed: int) -> Tensor:
    """n draws [n, 2] of p(x | c)^w q(x)^(1 - w), w = ``scale``, by rejection from p(x | c).

    q is the law of all data, or of the worse model under the class if ``wider`` > 1. p(x | c) is
    kept with probability (p(x | c) / q(x))^(w - 1) over its largest value, which is known: no
    weights, so no samples but exact ones.
    """
    law, zero = mixture(), torch.tensor(0.0, dtype=F64)
    p = conditional(law)
    q = conditional(mixture(wider)) if wider > 1 else law
    # q >= p(c) p(x | c), and a normal law of s times the width is at least 1 / s^2 of it here.
    most = float(2 * torch.tensor(wider).log()) if wider > 1 else -float(p_of_class(law).log())
    draw, kept, count = torch.Generator().manual_seed(seed), [], 0
    while count < n:
        x = p.sample(max(1000, n), draw)
        ratio = (scale - 1) * (p.log_prob(x, zero) - q.log_prob(x, zero) - most)
        assert float(ratio.max()) <= 1e-9
        good = torch.rand(len(x), generator=draw, dtype=F64).log() < ratio
        kept.append(x[good])
        count += int(good.sum())
    return torch.cat(kept)[:n]


def p_of_class(law: MixtureDenoiser) -> Tensor:
    """Probability of the class that is asked for."""
    return law.weights[law.labels == ASKED].sum()


@dataclass(frozen=True)
class Distance:
    """Of samples from exact draws, each 0 where the laws agree; in the plane of the components.

    mean: |m - m_0| over the deviation. cov: |S - S_0| / |S_0|, Frobenius. modes: half the sum of
    differences of the components' shares. w2: sliced W2.
    """

    mean: float
    cov: float
    modes: float
    w2: float


def distance(x: Tensor, y: Tensor) -> Distance:
    """Of samples x [n, d] from exact draws y [m, 2]."""
    plane = [z[:, :PLANE].to(F64) for z in (x, y)]
    spread = float(plane[1].var(0).sum().sqrt())
    cov = [z.T.cov() for z in plane]
    shares = [mode_shares(z) for z in plane]
    lines = SlicedW2(100)
    return Distance(
        float((plane[0].mean(0) - plane[1].mean(0)).norm()) / spread,
        float((cov[0] - cov[1]).norm() / cov[1].norm()),
        float((shares[0] - shares[1]).abs().sum()) / 2,
        lines.measure(plane[0], lines.prepare(plane[1]))["sliced_w2"],
    )


def others(x: Tensor) -> float | None:
    """Deviation of the coordinates outside the plane, over the true one; None if there are none."""
    return float(x[:, PLANE:].std()) / OTHERS if x.shape[1] > PLANE else None


def mode_shares(plane: Tensor) -> Tensor:
    """Mean posterior of each component [6] at points of the plane [n, 2]."""
    law = mixture()
    z = plane[:, None] - law.means
    joint = law.weights.log() - 0.5 * (z.square() / law.variances + law.variances.log()).sum(-1)
    return joint.softmax(1).mean(0)


def asked(n: int) -> Condition:
    """The condition of n rows."""
    return Condition.label([ASKED] * n)
