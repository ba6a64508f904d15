"""Single solvers against an independent statement of what they compute."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch import Tensor

from sde_diffusion.denoisers.closed_form import GaussianDenoiser, MixtureDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.process.grids import Karras, LogSNR
from sde_diffusion.process.noise import Seeds
from sde_diffusion.process.sde import VP
from sde_diffusion.solvers.adaptive.dopri import DoPri
from sde_diffusion.solvers.adaptive.scipy import METHODS, SciPy
from sde_diffusion.solvers.adaptive.torchsde_adaptive import TorchSDEAdaptive
from sde_diffusion.solvers.ancestral import Ancestral
from sde_diffusion.solvers.base import Solver
from sde_diffusion.solvers.ddim import DDIM
from sde_diffusion.solvers.deis import integrals
from sde_diffusion.solvers.dpmpp_2m import DPMpp2M
from sde_diffusion.solvers.dpmpp_2m_sde import DPMpp2MSDE
from sde_diffusion.solvers.dpmpp_3m import DPMpp3M
from sde_diffusion.solvers.euler_maruyama import EulerMaruyama
from sde_diffusion.solvers.heun import Heun
from sde_diffusion.solvers.ipndm import IPNDM
from sde_diffusion.solvers.lms import LMS
from sde_diffusion.solvers.step import Ask
from sde_diffusion.solvers.torchsde import Increment, TorchSDE
from sde_diffusion.solvers.unipc import weights
from tests.refusals import refused
from tests.solvers.conftest import SDES, Impulses, error, gaussian, mixture

F64 = torch.float64


def start(rows: int = 3, n: int = 8, sde: str = "vp") -> tuple[Ask, Tensor, Tensor]:
    process = SDES[sde]
    times = Karras().times(process, n)
    x = process.prior(Seeds().start(range(rows), (4,), F64), times[0])
    return Ask(process, mixture()), x, times


@torch.no_grad()
def end(solver: Solver, sde: str = "vp", n: int = 8) -> Tensor:
    ask, x, times = start(n=n, sde=sde)
    return solver.solve(ask, x, times, Seeds().batch([7, 8, 9], (4,), F64))


@pytest.mark.parametrize("sde", SDES)
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Ancestral(eta=0.0), DDIM()),
        (IPNDM(order=1), DDIM()),
        (LMS(order=1), DDIM()),
        (DPMpp2MSDE(eta=0.0), DPMpp2M()),
        (TorchSDE("euler"), EulerMaruyama()),
        (TorchSDE("milstein"), EulerMaruyama()),
        (TorchSDE("euler", eta=0.0), EulerMaruyama(eta=0.0)),
        (Heun(s_churn=5.0, s_tmin=100.0), Heun()),
    ],
    ids=lambda s: type(s).__name__,
)
def test_two_solvers_that_coincide(one: Solver, other: Solver, sde: str) -> None:
    assert torch.allclose(end(one, sde), end(other, sde), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("order", [2, 3, 4])
@torch.no_grad()
def test_lms_on_equal_steps_of_the_noise_level_is_ipndm(order: int) -> None:
    ask, x, _ = start(sde="edm")
    times, noise = torch.linspace(2.0, 0.4, 9, dtype=F64), Seeds().batch([7, 8, 9], (4,), F64)
    lms, ipndm = (s.solve(ask, x / 40, times, noise) for s in (LMS(order), IPNDM(order)))
    assert torch.allclose(lms, ipndm, rtol=1e-10)


def test_unipc_weights_are_exact_on_polynomials() -> None:
    """sum_k rho_k q(r_k) is the integral that it stands for, for q of degree < p with q(0) = 0."""
    h, nodes = 0.7, (-1.3, -0.6, 1.0)
    rho = weights(nodes, h)
    u = (torch.arange(20000, dtype=F64) + 0.5) / 20000
    for power in (1, 2, 3):
        # Weight e^(h (u - 1)) of the image at lam + u h, normalised to a constant's share.
        kernel = torch.exp(h * (u - 1))
        exact = (kernel * u**power).sum() / kernel.sum()
        sum_ = sum(w * r ** (power - 1) for w, r in zip(rho, nodes, strict=True))
        assert sum_ == pytest.approx(float(exact), abs=1e-8)
    assert weights(nodes[:1], h) == [0.5]


def test_deis_weights_are_the_integrals_of_lagrange_polynomials() -> None:
    """Against 200,000 midpoints in r; a constant gives r_s - r_t exactly."""
    lam, lam_s = (0.5, -0.3, -1.0), 1.4
    vp = VP()
    found = integrals(lam, lam_s, vp)
    r_t, r_s = math.exp(-lam[0]), math.exp(-lam_s)
    r = r_t + (r_s - r_t) * (torch.arange(200000, dtype=F64) + 0.5) / 200000
    tau, nodes = vp.time_at(r), [vp.time_at(torch.tensor(math.exp(-v), dtype=F64)) for v in lam]
    for j in range(3):
        k, m = (i for i in range(3) if i != j)
        basis = (tau - nodes[k]) * (tau - nodes[m])
        basis = basis / ((nodes[j] - nodes[k]) * (nodes[j] - nodes[m]))
        assert found[j] == pytest.approx(float(basis.mean() * (r_s - r_t)), abs=1e-9)
    assert sum(found) == pytest.approx(r_s - r_t, abs=1e-13)


def test_the_factor_that_the_published_3m_leaves_out() -> None:
    """As derived it is of third order: over ten times nearer at 64 steps than as published."""
    grid, sde = LogSNR(), SDES["edm"]
    published, derived = (
        error(DPMpp3M(published=p), sde, grid.times(sde, 64)) for p in (True, False)
    )
    assert published > 10 * derived


@pytest.mark.parametrize("rtol", [1e-3, 1e-5, 1e-7])
@pytest.mark.parametrize("name", ["dopri", "scipy"])
@torch.no_grad()
def test_the_endpoint_error_follows_the_tolerance(name: str, rtol: float) -> None:
    """On the exact Gaussian flow: at most 10 tolerances off, the usual gain over local control."""
    solver = {"dopri": DoPri, "scipy": SciPy}[name](rtol=rtol, atol=rtol)
    denoiser, sde = gaussian(), SDES["vp"]
    times = Karras().times(sde, 1)
    noise = Seeds().batch(range(4), (4,), F64)
    x = sde.prior(noise.fresh(), times[0])
    found = solver.solve(Ask(sde, denoiser), x, times, noise) / sde.alpha(times[-1])
    levels = sde.noise_level(times)
    exact = denoiser.flow(x / sde.alpha(times[0]), levels[0], levels[1])
    assert float((found - exact).abs().max()) < 10 * rtol


@pytest.mark.parametrize("method", METHODS)
@torch.no_grad()
def test_every_scipy_method_runs(method: str) -> None:
    found, other = end(SciPy(method, 1e-6, 1e-6)), end(DoPri(1e-8))
    assert float((found - other).abs().max()) < 1e-3


@torch.no_grad()
def test_dopri_stops_asking_for_samples_that_have_arrived() -> None:
    """Evaluations of a batch are the sum of those of its samples alone."""
    ask, x, times = start(rows=4)
    noise, alone = Seeds().batch(range(4), (4,), F64), []
    for k in range(4):
        single = Ask(ask.sde, mixture())
        DoPri().solve(single, x[k : k + 1], times, noise)
        alone.append(single.denoiser.evaluations)
    DoPri().solve(ask, x, times, noise)
    assert ask.denoiser.evaluations == sum(alone)
    assert len(set(alone)) > 1


@torch.no_grad()
def test_torchsde_refuses_what_it_would_pass_over() -> None:
    """A tolerance that no step meets; a denoiser that is not a number (it would never end)."""
    ask, x, times = start(rows=1)
    noise = Seeds().batch([0], (4,), F64)
    strict = TorchSDEAdaptive("euler", rtol=1e-6, atol=1e-6)
    strict.most = 100
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # else the tests' own filter would raise
        with refused("solver.rtol=", "100 evaluations"):
            strict.solve(ask, x, times, noise)
    nan = Ask(ask.sde, GaussianDenoiser(torch.full((4,), math.nan, dtype=F64)))
    with pytest.raises(InputError, match="not finite"):
        TorchSDEAdaptive().solve(nan, x, times, noise)


@torch.no_grad()
def test_dopri_refuses_a_denoiser_that_is_not_a_number() -> None:
    broken = MixtureDenoiser(*(torch.full(s, math.nan, dtype=F64) for s in ((1,), (1, 4), (1, 4))))
    _, x, times = start()
    with refused("denoiser"):
        DoPri().solve(Ask(SDES["vp"], broken), x, times, Seeds().batch([0], (4,), F64))


def test_torchsde_sees_a_brownian_motion_and_its_integral() -> None:
    """Over a unit interval var W = 1, cov(W, int W) = 1/2, var(int W) = 1/3, from unit impulses."""
    t, s = 0.8, 0.3
    ends = torch.tensor([0.0, 1.0], dtype=F64)  # torchsde's own
    increment = Increment(Impulses(4, 1), torch.zeros(4, 1, dtype=F64), t, s)
    both = increment(*ends, return_U=True)
    w, integral = (part[2:, 0] for part in both)
    assert float(w @ w) == pytest.approx(1)
    assert float(w @ integral) == pytest.approx(1 / 2)
    assert float(integral @ integral) == pytest.approx(1 / 3)
    single = Increment(Impulses(4, 1), torch.zeros(4, 1, dtype=F64), t, s)(*ends)
    assert float(single.square().sum()) == pytest.approx(1)  # type: ignore[union-attr]
