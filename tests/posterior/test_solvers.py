"""Posterior solvers: against twins of their formulas, and against exact posteriors."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from sde_diffusion import operators
from sde_diffusion.conditions.condition import MEASUREMENT, Condition, Part
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.denoisers.closed_form import GaussianDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.operators import Matrix, Operator, with_measurement
from sde_diffusion.process.grids import Karras
from sde_diffusion.process.sde import EDM, SDE, VP, RectifiedFlow
from sde_diffusion.solvers.posterior.base import PosteriorSolver
from sde_diffusion.solvers.posterior.daps import DAPS
from sde_diffusion.solvers.posterior.ddnm import DDNM
from sde_diffusion.solvers.posterior.ddrm import DDRM
from sde_diffusion.solvers.posterior.diffpir import DiffPIR
from sde_diffusion.solvers.posterior.particles import Particles
from sde_diffusion.solvers.posterior.repaint import RePaint
from sde_diffusion.solvers.step import Ask
from tests.posterior.problems import (
    DOUBLE,
    GAUSSIAN,
    MIXTURE,
    ROWS,
    draws,
    measured,
    mixture_posterior,
    normal,
    tensor,
)

Y = tensor([0.4, -0.2])
SOLVERS: dict[str, Callable[[Operator], PosteriorSolver]] = {
    "daps": DAPS,
    "ddnm": DDNM,
    "ddrm": DDRM,
    "diffpir": DiffPIR,
    "particles": lambda operator: Particles(operator, 4),
    "repaint": lambda operator: RePaint(operator, 2),
    "daps langevin": lambda operator: DAPS(operator, 2, langevin=5),
}
each = pytest.mark.parametrize("name", SOLVERS)
SCALE = 1.5, 0.6, 0.3  # levels of a grid of two steps


class Given:
    """Noise that is known: the same z for each step."""

    def __init__(self, z: Tensor) -> None:
        self.z = z

    def normal(self, t: float, s: float) -> Tensor:
        return self.z

    fresh = None


def first_step(
    solver: PosteriorSolver, denoiser: Denoiser, levels: tuple[float, ...], y: Tensor, z: Tensor,
    measurement: Tensor, sde: SDE,
) -> Tensor:  # fmt: skip
    """x / alpha after the first of the steps through ``levels``."""
    ask = Ask(sde, denoiser, measured(ROWS, measurement, len(y)))
    ask = ask.along(sde.time_at(tensor(levels)))
    step = ask.steps[0]
    state = solver.init(ask, y, ask.steps)
    x, _ = solver.step(ask, step.a.alpha * y, step, state, Given(z))  # type: ignore[arg-type]
    return x / step.b.alpha


@pytest.mark.parametrize("sde", [EDM(), VP(), RectifiedFlow()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("levels", [(1.5, 0.6, 0.3), (0.5, 0.21, 0.1)])
def test_ddrm_is_its_formula(sde: SDE, levels: tuple[float, ...]) -> None:
    """By a whole SVD of A, direction by direction; both regimes of nu occur at the lower levels."""
    y, z = normal(2, 4, seed=1), normal(2, 4, seed=2)
    u, s, vt = torch.linalg.svd(tensor(ROWS.rows))
    r, r_s = levels[:2]
    eta, eta_b = 0.85, 0.9
    d = GAUSSIAN(y, tensor(r))
    expected = torch.zeros(2, 4, dtype=DOUBLE)
    regimes = set()
    for j in range(4):
        d_j, y_j, z_j = (v @ vt[j] for v in (d, y, z))
        if j >= len(s):
            new = d_j + math.sqrt(1 - eta**2) * r_s * (y_j - d_j) / r + eta * r_s * z_j
        else:
            bar, nu = (u[:, j] @ Y) / s[j], ROWS.noise / float(s[j])
            regimes.add(nu > r_s)
            if nu > r_s:
                new = d_j + math.sqrt(1 - eta**2) * r_s * (bar - d_j) / nu + eta * r_s * z_j
            else:
                new = (1 - eta_b) * d_j + eta_b * bar + math.sqrt(r_s**2 - (eta_b * nu) ** 2) * z_j
        expected += new[:, None] * vt[j]
    assert regimes == ({False} if r_s > 0.3 else {True, False})
    # The SVD's signs are free, and z is taken in its coordinates: V V^T z is the same.
    answer = first_step(DDRM(ROWS, eta, eta_b), GAUSSIAN, levels, y, z, Y, sde)
    assert torch.allclose(answer, expected, atol=1e-7)


def spread_of_ddrm(variance: float, eta: float, nfe: int, nu: float | None = None) -> float:
    """Deviation at the end of a direction of a Gaussian that nothing measures, or that is measured
    with noise nu: a recursion."""
    levels = Karras().times(EDM(), nfe).tolist()
    found, stay = levels[0] ** 2, math.sqrt(1 - eta**2)
    for r, r_s in pairwise(levels):
        share = variance / (variance + r**2)
        if nu is None:
            found = (share + stay * r_s / r * (1 - share)) ** 2 * found + (eta * r_s) ** 2
        elif nu <= r_s:
            found = r_s**2 - nu**2
        else:
            found = (share * (1 - stay * r_s / nu)) ** 2 * found + (eta * r_s) ** 2
    return math.sqrt(found)


@pytest.mark.parametrize("eta", [0.0, 0.5, 0.85])
def test_ddrm_is_as_sure_as_its_recursion_says(eta: float) -> None:
    """D stands where x_0 given y_t would be drawn: each step loses (1 - c r_s / r)^2 of its
    variance, c = sqrt(1 - eta^2), and at eta > 0 more steps lose it more often."""
    denoiser = GaussianDenoiser(tensor([0.25, 1.0]), tensor([0.0, 0.0]))
    operator, n = Matrix([[0.0, 1.0]], noise=0.3), 4000
    x = draws(denoiser, DDRM(operator, eta), measured(operator, tensor([0.4]), n), 60, n).x
    assert float(x[:, 0].std()) == pytest.approx(spread_of_ddrm(0.25, eta, 60), abs=0.02)
    assert float(x[:, 1].std()) == pytest.approx(spread_of_ddrm(1.0, eta, 60, 0.3), abs=0.02)
    assert spread_of_ddrm(1.0, 0.85, 1000, 0.3) < 0.1 < math.sqrt(0.09 / 1.09)
    assert spread_of_ddrm(0.25, 0.85, 1000) < 0.45
    assert spread_of_ddrm(0.25, 0.0, 1000) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("sde", [EDM(), VP()], ids=lambda s: type(s).__name__)
def test_diffpir_is_its_algorithm(sde: SDE) -> None:
    """arXiv:2305.08995, algorithm 1, in the paper's own scale (variance preserving)."""
    y, z = normal(2, 4, seed=1), normal(2, 4, seed=2)
    a, lam, zeta = tensor(ROWS.rows), 7.0, 0.4
    r, r_s = SCALE[:2]
    bar, bar_s = 1 / (1 + r**2), 1 / (1 + r_s**2)  # alpha-bar of these levels
    x_t = math.sqrt(bar) * y
    d = GAUSSIAN(y, tensor(r))
    rho = lam * ROWS.noise**2 / ((1 - bar) / bar)
    # argmin |A x - y|^2 + rho |x - d|^2, by the normal equations.
    matrix = a.T @ a + rho * torch.eye(4, dtype=DOUBLE)
    x_0 = torch.linalg.solve(matrix, (a.T @ Y + rho * d).T).T
    epsilon = (x_t - math.sqrt(bar) * x_0) / math.sqrt(1 - bar)
    mixed = math.sqrt(1 - zeta) * epsilon + math.sqrt(zeta) * z
    expected = (math.sqrt(bar_s) * x_0 + math.sqrt(1 - bar_s) * mixed) / math.sqrt(bar_s)
    answer = first_step(DiffPIR(ROWS, lam, zeta), GAUSSIAN, SCALE, y, z, Y, sde)
    assert torch.allclose(answer, expected, atol=1e-7)


@pytest.mark.parametrize("levels", [(1.5, 0.6, 0.3), (0.5, 0.15, 0.1)])
def test_ddnm_is_its_formula(levels: tuple[float, ...]) -> None:
    y, z = normal(2, 4, seed=1), normal(2, 4, seed=2)
    a = tensor(ROWS.rows)
    _, s, vt = torch.linalg.svd(a, full_matrices=False)
    r, r_s = levels[:2]
    d = GAUSSIAN(y, tensor(r))
    tau = 0.85 * r_s * math.sqrt(1 - (r_s / r) ** 2)
    share = 1 - math.sqrt(r_s**2 - tau**2) / r
    lam = (tau * s / (share * ROWS.noise)).clamp_max(1)
    gain = vt.T @ (lam[:, None] * vt)
    x_0 = d - (d @ a.T - Y) @ torch.linalg.pinv(a).T @ gain.T
    spread = (tau**2 - (share * lam * ROWS.noise / s) ** 2).clamp_min(0).sqrt()
    noise = tau * z + (z @ vt.T) * (spread - tau) @ vt
    expected = x_0 + (1 - share) * (y - x_0) + noise
    answer = first_step(DDNM(ROWS), GAUSSIAN, levels, y, z, Y, EDM())
    assert torch.allclose(answer, expected, atol=1e-7)


def test_particles_converge_to_the_posterior_of_a_mixture() -> None:
    """Two modes that lie apart, and shares that the data turn: by enumeration.

    400 draws have an error of 0.04 of the mean; 64 particles and 60 steps a bias below that.
    """
    operator = Matrix([[1.0, 0.3]], noise=0.3)
    y = tensor([0.4])
    mean, cov = mixture_posterior(tensor(operator.rows), 0.3, y)
    x = draws(MIXTURE, Particles(operator, 64), measured(operator, y, 400), 64 * 60, 400).x
    assert torch.allclose(x.mean(0), mean, atol=0.13)
    assert torch.allclose(torch.cov(x.T), cov, atol=0.13)
    # Not the prior's, nor what the method of most pictures gives: DDRM leaves the modes' shares.
    other = draws(MIXTURE, DDRM(operator), measured(operator, y, 400), 60, 400).x
    assert float((other.mean(0) - mean).abs().max()) > 0.4


def test_pure_denoising_ends_at_the_denoiser_of_its_level() -> None:
    """A = 1: E[x_0 | y] is D(y, noise), for any denoiser; errors of 300 draws about 0.03."""
    operator = Matrix([[1.0, 0.0], [0.0, 1.0]], noise=0.5)
    y = tensor([0.5, -0.2])
    exact = MIXTURE(y[None], tensor(0.5))[0]
    x = draws(MIXTURE, Particles(operator, 32), measured(operator, y, 300), 32 * 60, 300).x
    assert torch.allclose(x.mean(0), exact, atol=0.15)


@each
def test_without_noise_the_measurement_is_met(name: str) -> None:
    operator = Matrix([[1.0, 0.5, 0.0, -1.0]], noise=0.02)
    y = tensor([0.7])
    solver = SOLVERS[name](operator)
    x = draws(GAUSSIAN, solver, measured(operator, y, 40), 40 * solver.evaluations, 40).x
    assert float((x @ tensor(operator.rows[0]) - y).square().mean().sqrt()) < 0.15
    free = draws(GAUSSIAN, solver, unkept(operator, y, 40), 40 * solver.evaluations, 40).x
    assert float((free @ tensor(operator.rows[0]) - y).square().mean().sqrt()) > 0.5


def unkept(operator: Operator, y: Tensor, n: int) -> Condition:
    part = measured(operator, y, n).parts[MEASUREMENT]
    return Condition({MEASUREMENT: Part(part.value, torch.zeros(n, dtype=torch.bool), fixed=True)})


@each
def test_rows_keep_their_pictures_in_any_batch_and_mask(name: str) -> None:
    """A row's own mask goes with it: a part of the batch draws the very same rows."""
    operator = operators.Mask(noise=0.1)
    solver = SOLVERS[name](operator)
    mask = (normal(4, 4, seed=3) > 0).double()
    y = operator.measure(normal(4, 4, seed=4), mask=mask)
    cond = with_measurement(y, mask=mask)
    nfe = 6 * solver.evaluations
    whole = draws(GAUSSIAN, solver, cond, nfe, 4).x
    part = draws(GAUSSIAN, solver, cond[:2], nfe, 2).x
    assert torch.allclose(whole[:2], part, atol=1e-12)
    # Rows that are not kept do not see their measurement, nor do others see theirs.
    keep = torch.tensor([True, False, True, True])
    half = Condition({MEASUREMENT: Part(y, keep, {"mask": mask}, fixed=True)})
    other = Condition({MEASUREMENT: Part(y + 5 * ~keep[:, None], keep, {"mask": mask}, fixed=True)})
    found = draws(GAUSSIAN, solver, half, nfe, 4).x
    assert torch.allclose(found, draws(GAUSSIAN, solver, other, nfe, 4).x, atol=1e-12)
    assert torch.allclose(found[keep], whole[keep], atol=1e-12)


@each
def test_a_process_is_as_good_as_another(name: str) -> None:
    """In x / alpha and noise levels alone: on VP the very draws of the plain process."""
    solver = SOLVERS[name](ROWS)
    nfe = 6 * solver.evaluations
    cond = measured(ROWS, Y, 3)
    plain = draws(GAUSSIAN, solver, cond, nfe, 3).x
    flow = draws(GAUSSIAN, solver, cond, nfe, 3, sde=RectifiedFlow()).x
    assert torch.allclose(plain, flow, atol=1e-6)


@each
def test_evaluations_are_those_counted(name: str) -> None:
    solver = SOLVERS[name](ROWS)
    found = draws(GAUSSIAN, solver, measured(ROWS, Y, 2), 5 * solver.evaluations, 2)
    assert (found.nfe, found.backward_passes) == (5 * solver.evaluations, 0)


@each
def test_float32_pictures_of_a_model_of_any_operator(name: str) -> None:
    """Shapes, dtypes and masks of pictures: every linear choice, one draw each."""
    from sde_diffusion.denoisers.function import FunctionDenoiser
    from sde_diffusion.process.grids import Karras
    from sde_diffusion.sampling.sampler import Request, Sampler

    model = FunctionDenoiser(lambda x, sigma: x / (1 + sigma**2), (1, 16, 16))
    x_0 = normal(2, 1, 16, 16).float()
    for operator in (
        operators.Box(), operators.Downsample(), operators.GaussianBlur(), operators.Cartesian(),
        operators.ParallelBeam(4), operators.MotionBlur(),
    ):  # fmt: skip
        solver = SOLVERS[name](operator)
        cond = with_measurement(operator.measure(x_0))
        sampler = Sampler.build(EDM(), model, solver, Karras())
        x = sampler.sample(Request([0, 1], 4 * solver.evaluations, cond)).x
        assert x.dtype == torch.float32
        assert bool(x.isfinite().all()), operator


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (lambda: draws(GAUSSIAN, DDRM(ROWS), None, 6, 2), r"solver=ddrm: needs a measurement"),
        (lambda: draws(GAUSSIAN, DDNM(ROWS), measured(ROWS, Y[:1], 2), 6, 2),
         r"solver=ddnm: a measurement of shape \(1,\)"),
        (lambda: draws(GAUSSIAN, DiffPIR(operators.Function(torch.abs, linear=False)),
                       with_measurement(normal(2, 4)), 6, 2),
         r"solver=diffpir: needs a linear operator; choose method=dps, or method=daps"),
        (lambda: DDRM(ROWS, eta=1.5), r"solver\.eta=1\.5"),
        (lambda: DDNM(ROWS, eta=-0.1), r"solver\.eta=-0\.1"),
        (lambda: DiffPIR(ROWS, lam=0.0), r"solver\.lam=0\.0"),
        (lambda: DiffPIR(ROWS, zeta=2.0), r"solver\.zeta=2\.0"),
        (lambda: RePaint(ROWS, 0), r"solver\.repeats=0"),
        (lambda: DAPS(ROWS, 0), r"solver\.flow=0"),
        (lambda: DAPS(ROWS, rate=1.0), r"solver\.rate=1\.0"),
        (lambda: DAPS(Matrix(noise=0.0), langevin=5), r"operator\.noise=0\.0: Langevin"),
        (lambda: Particles(ROWS, 1), r"solver\.particles=1"),
        (lambda: Particles(ROWS, 4, 0.0), r"solver\.variance=0\.0"),
        (lambda: Particles(Matrix(noise=0.0)), r"operator\.noise=0\.0: particles"),
    ],
)  # fmt: skip
def test_wrong_solvers_are_refused_by_name(case: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        case()  # type: ignore[operator]
