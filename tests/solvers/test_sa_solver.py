"""SA-Solver: known steps at one node, integrals exact on polynomials, and orders by nodes."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.process.grids import Karras, LogSNR
from sde_diffusion.process.noise import Seeds
from sde_diffusion.solvers.ancestral import Ancestral
from sde_diffusion.solvers.base import Solver
from sde_diffusion.solvers.ddim import DDIM
from sde_diffusion.solvers.sa_solver import SASolver, integrals
from sde_diffusion.solvers.step import Ask, walk
from tests.solvers.conftest import SDES, error, mixture

F64 = torch.float64


@torch.no_grad()
def end(solver: Solver, sde: str) -> Tensor:
    times = Karras().times(SDES[sde], 8)
    x = SDES[sde].prior(Seeds().start(range(3), (4,), F64), times[0])
    noise = Seeds().batch([7, 8, 9], (4,), F64)
    return solver.solve(Ask(SDES[sde], mixture()), x, times, noise)


@pytest.mark.parametrize("sde", SDES)
def test_one_node_is_ddim_without_noise_and_ancestral_sampling_with(sde: str) -> None:
    """tau = 0 is DDIM, and tau = 1 everywhere its eta = 1 (arXiv:2309.05019)."""
    for tau, known in ((0.0, DDIM()), (1.0, Ancestral())):
        one = SASolver(1, 0, tau, 0.0, math.inf)
        assert torch.allclose(end(one, sde), end(known, sde), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("tau", [0.0, 0.7, 2.0])
@pytest.mark.parametrize("nodes", [1, 2, 3, 4])
def test_the_weights_are_exact_on_polynomials(nodes: int, tau: float) -> None:
    """sum_j b_j q(lam_j) = int k e^(-k (lam_s - lam)) q d lam for q of degree < nodes."""
    lam_t, lam_s, k = 0.3, 1.1, 1 + tau**2
    lam = (1.1, 0.3, -0.6, -1.0)[:nodes]
    found = integrals(lam, lam_t, lam_s, k, published=False)
    points = lam_t + (lam_s - lam_t) * (torch.arange(20000, dtype=F64) + 0.5) / 20000
    kernel = k * torch.exp(-k * (lam_s - points)) * (lam_s - lam_t) / 20000
    for power in range(nodes):
        total = sum(b * v**power for b, v in zip(found, lam, strict=True))
        assert total == pytest.approx(float((kernel * points**power).sum()), abs=1e-7)


@pytest.mark.parametrize("published", [True, False])
@torch.no_grad()
def test_two_nodes_are_the_stated_recursion(published: bool) -> None:
    """Predictor and corrector in x at alpha = 1, with the integrals of one slope written out."""
    levels = [2.0, 1.3, 0.9, 0.5]
    times, denoiser, tau = torch.tensor(levels, dtype=F64), mixture(), 0.8
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=F64)
    solver = SASolver(2, 2, tau, 0.6, 1.5, published)
    noise = Seeds().batch([1, 2, 3], (4,), F64)
    found = solver.solve(Ask(SDES["edm"], denoiser), x, times, noise)

    draws, zero = Seeds().batch([1, 2, 3], (4,), F64), torch.zeros_like(x)

    def move(x: Tensor, t: float, s: float, z: Tensor, d: Tensor, slope: Tensor) -> Tensor:
        on = tau if 0.6 <= t <= 1.5 and s > 0.5 else 0.0
        k, h = 1 + on**2, math.log(t / s)
        whole = 1 - math.exp(-k * h)
        first = k * h**2 / 2 if published else h - whole / k
        shrink, up = s / t * math.exp(-(on**2) * h), s * math.sqrt(1 - math.exp(-2 * on**2 * h))
        return shrink * x + whole * d + first * slope + up * z

    h = [math.log(t / s) for t, s in pairwise(levels)]
    d_0 = denoiser(x, times[0])
    p_1 = move(x, 2.0, 1.3, zero, d_0, zero)
    d_1 = denoiser(p_1, times[1])
    x_1 = move(x, 2.0, 1.3, zero, d_0, (d_1 - d_0) / h[0])
    z = draws.normal(1.3, 0.9)
    p_2 = move(x_1, 1.3, 0.9, z, d_1, (d_1 - d_0) / h[0])
    d_2 = denoiser(p_2, times[2])
    x_2 = move(x_1, 1.3, 0.9, z, d_1, (d_2 - d_1) / h[1])
    # The last step draws nothing, its noise is left out: it follows the flow.
    expected = move(x_2, 0.9, 0.5, zero, d_2, (d_2 - d_1) / h[1])
    assert torch.allclose(found, expected, rtol=1e-11)


def test_lower_final_orders_take_one_node_in_the_last_step() -> None:
    """A flow of one step before the last: the last is DDIM's, whatever the history holds."""
    sde, times = SDES["edm"], torch.tensor([2.0, 1.0, 0.5], dtype=F64)
    ask = Ask(sde, mixture())
    noise = Seeds().batch([1], (4,), F64)
    seen: list[Tensor] = []
    solver = SASolver(3, 0, 0.0, lower_order_final=True)
    x = torch.ones(1, 4, dtype=F64)
    end = solver.solve(ask, x, times, noise, lambda at, x: seen.append(x))
    last, _ = DDIM().step(ask, seen[1], walk(sde, times)[1], None, noise)
    assert torch.allclose(end, last, rtol=1e-12)


@pytest.mark.parametrize("tau", [0.0, 1.0])
@pytest.mark.parametrize("nodes", [(1, 0), (1, 2), (2, 0), (2, 3), (3, 3), (3, 4), (4, 4)])
def test_the_declared_order_by_nodes(nodes: tuple[int, int], tau: float) -> None:
    """On the Gaussian, from 64 to 256 steps uniform in lam."""
    solver, sde = SASolver(*nodes, tau), SDES["edm"]
    few, many = (error(solver, sde, LogSNR().times(sde, n)) for n in (64, 256))
    assert math.log2(few / many) / 2 >= solver.order - 0.15


def test_the_published_integral_is_wild_on_long_steps() -> None:
    """Ten steps over the whole range of noise: the exact integral is several times nearer."""
    sde = SDES["edm"]
    times = LogSNR().times(sde, 10)
    published, exact = (error(SASolver(2, 2, 1.0, published=p), sde, times) for p in (True, False))
    assert published > 3 * exact


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"predictor": 0}, "predictor"),
        ({"corrector": 1}, "corrector"),
        ({"tau": -1.0}, "tau"),
        ({"tau_min": 2.0}, "tau_min"),
    ],
)
def test_a_wrong_field_is_refused_by_its_name(fields: dict[str, float], name: str) -> None:
    with pytest.raises(InputError, match=rf"^solver\.{name}=.*(choose|give)"):
        SASolver(**fields)  # type: ignore[arg-type]
