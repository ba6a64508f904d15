"""ER-SDE-Solvers: known steps at order 1, closed integrals, and the formula written out."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from sde_diffusion.process.grids import Karras
from sde_diffusion.process.noise import Seeds
from sde_diffusion.solvers.ancestral import Ancestral
from sde_diffusion.solvers.base import Solver
from sde_diffusion.solvers.ddim import DDIM
from sde_diffusion.solvers.er_sde import ERSDE, SCALES, integrals
from sde_diffusion.solvers.step import Ask
from tests.refusals import refused
from tests.solvers.conftest import SDES, mixture

F64 = torch.float64


@torch.no_grad()
def end(solver: Solver, sde: str) -> Tensor:
    times = Karras().times(SDES[sde], 8)
    x = SDES[sde].prior(Seeds().start(range(3), (4,), F64), times[0])
    noise = Seeds().batch([7, 8, 9], (4,), F64)
    return solver.solve(Ask(SDES[sde], mixture()), x, times, noise)


@pytest.mark.parametrize("sde", SDES)
@pytest.mark.parametrize(
    ("scale", "known"), [("ode", DDIM()), ("sde", Ancestral())], ids=["ode", "sde"]
)
def test_order_1_is_a_known_step(scale: str, known: Solver, sde: str) -> None:
    """phi = r is DDIM, phi = r^2 ancestral sampling (arXiv:2309.06169)."""
    assert torch.allclose(end(ERSDE(1, scale), sde), end(known, sde), rtol=1e-9, atol=1e-11)


def test_the_integrals_in_closed_form() -> None:
    t, s = 3.0, 0.4
    c_1, c_2 = integrals(SCALES["ode"], t, s)
    rise = math.log(t / s)
    assert c_1 == pytest.approx(s * rise - (t - s), rel=1e-12)
    assert c_2 == pytest.approx(s * (t - s) - s * t * rise + (t - s) ** 2 / 2, rel=1e-12)
    c_1, _ = integrals(SCALES["sde"], t, s)
    assert c_1 == pytest.approx(s**2 * (1 / s - 1 / t) - (t - s), rel=1e-12)


@pytest.mark.parametrize("scale", SCALES)
@torch.no_grad()
def test_order_3_is_the_published_formula(scale: str) -> None:
    """Three steps at alpha = 1 with the integrals as sums over 20,000 points of sigma, as there."""
    levels, n = [2.0, 1.4, 0.9, 0.6, 0.3], 20000
    times = torch.tensor(levels, dtype=F64)
    denoiser, sde = mixture(), SDES["edm"]
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=F64)
    noise = Seeds().batch([1, 2, 3], (4,), F64)
    found = ERSDE(3, scale).solve(Ask(sde, denoiser), x, times, noise)

    def flow(r: float) -> float:
        return r

    def scaled(r: float) -> float:
        return {"ode": r, "sde": r**2, "sde_5": r * (math.exp(r**0.3) + 10)}[scale]

    draws = Seeds().batch([1, 2, 3], (4,), F64)
    d: list[Tensor] = []
    first: list[Tensor] = []
    for i, (t, s) in enumerate(pairwise(levels)):
        d.append(denoiser(x, times[i]))
        last = i == len(levels) - 2
        phi = flow if last else scaled
        p = phi(s) / phi(t)
        y = p * x + (1 - p) * d[i]
        points = [s + (k + 0.5) / n * (t - s) for k in range(n)]
        if i > 0:
            first.append((d[i] - d[i - 1]) / (t - levels[i - 1]))
            integral = sum(1 / phi(r) for r in points) * (t - s) / n
            y = y + (s - t + integral * phi(s)) * first[-1]
        if i > 1:
            second = 2 * (first[-1] - first[-2]) / (t - levels[i - 2])
            integral = sum((r - t) / phi(r) for r in points) * (t - s) / n
            y = y + ((s - t) ** 2 / 2 + integral * phi(s)) * second
        if scale != "ode" and not last:
            y = y + math.sqrt(s**2 - (p * t) ** 2) * draws.normal(t, s)
        x = y
    assert torch.allclose(found, x, rtol=1e-7, atol=1e-8)


def test_a_wrong_field_is_refused_by_its_name() -> None:
    with refused("solver.order=4", "choose"):
        ERSDE(order=4)
    with refused("solver.scale=sqrt", "choose one of ode"):
        ERSDE(scale="sqrt")
