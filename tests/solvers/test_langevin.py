"""Langevin and predictor-corrector: the law of their own discrete chain, and their exact moves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sde_diffusion.denoisers.closed_form import GaussianDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.face.load import wrap
from sde_diffusion.process.grids import Karras
from sde_diffusion.process.noise import Noise, Seeds
from sde_diffusion.solvers.adaptive.dopri import DoPri
from sde_diffusion.solvers.langevin import Langevin
from sde_diffusion.solvers.reverse_diffusion import ReverseDiffusion
from sde_diffusion.solvers.step import Ask, walk
from sde_diffusion.solvers.wrappers.predictor_corrector import PredictorCorrector
from tests.solvers.conftest import SDES

# Many modes of two variances: the norms of score and noise are then all but fixed numbers.
HALF, ROWS, STEPS = 2048, 12, 12
VARIANCE = torch.tensor([1.0, 0.04], dtype=torch.float64)


def chain_variances(name: str, snr: float, n_steps: int, predict: bool) -> Tensor:
    """Variance of the two kinds of mode at the end, by the scalar recursion of the published rules.

    For a zero-mean mode of variance V = a^2 L + s^2, a Langevin step of size e multiplies by
    (1 - e / V) and adds 2 e; a reverse diffusion step multiplies by (2 - c - b^2 / V), adds b^2.
    """
    sde = SDES[name]
    times = Karras().times(sde, STEPS)
    alpha, sigma = sde.alpha(times).tolist(), sde.sigma(times).tolist()
    v = [4 * (alpha[0] ** 2 * L + sigma[0] ** 2) for L in VARIANCE.tolist()]
    for i in range(STEPS):
        exact = [alpha[i] ** 2 * L + sigma[i] ** 2 for L in VARIANCE.tolist()]
        for _ in range(n_steps):
            score2 = sum(v_k / V**2 for v_k, V in zip(v, exact, strict=True)) / 2
            e = 2 * (alpha[i] / alpha[i + 1]) ** 2 * snr**2 / score2
            v = [(1 - e / V) ** 2 * v_k + 2 * e for v_k, V in zip(v, exact, strict=True)]
        c = alpha[i] / alpha[i + 1]
        if predict:
            b2 = sigma[i] ** 2 - c**2 * sigma[i + 1] ** 2
            added = 0.0 if i == STEPS - 1 else b2
            v = [(2 - c - b2 / V) ** 2 * v_k + added for v_k, V in zip(v, exact, strict=True)]
        else:
            v = [v_k / c**2 for v_k in v]
    return torch.tensor(v, dtype=torch.float64)


@torch.no_grad()
def check_the_chain(name: str, predict: bool, norm: str, seed: int = 0) -> None:
    """From four times the exact variance; within 5 standard errors of 24,576 draws a kind."""
    sde = SDES[name]
    corrector = Langevin(snr=0.3, n_steps=4, norm=norm)
    solver = PredictorCorrector(ReverseDiffusion(), corrector) if predict else corrector
    times = Karras().times(sde, STEPS)
    denoiser = GaussianDenoiser(VARIANCE.repeat_interleave(HALF))
    start = 4 * (sde.alpha(times[0]) ** 2 * denoiser.variance + sde.sigma(times[0]) ** 2)
    noise = Seeds().batch(range(seed * ROWS, (seed + 1) * ROWS), denoiser.shape, torch.float64)
    x = solver.solve(Ask(sde, denoiser), start.sqrt() * noise.fresh(), times, noise)
    expected = chain_variances(name, 0.3, 4, predict)
    found = x.reshape(ROWS, 2, HALF).square().mean((0, 2))
    z = (found / expected - 1) * (ROWS * HALF / 2) ** 0.5
    assert float(z.abs().max()) < 5


@pytest.mark.parametrize("norm", ["sample", "batch"])
@pytest.mark.parametrize("predict", [False, True], ids=["annealed", "predictor-corrector"])
@pytest.mark.parametrize("name", SDES)
def test_the_law_is_that_of_the_scalar_chain(name: str, predict: bool, norm: str) -> None:
    check_the_chain(name, predict, norm)


class OfNorms(Langevin):
    """Takes the norms of numbers however few, as 7a19cb7 did."""

    enough = 1


class Recorded(Noise):
    """Given draws, one after the other."""

    def __init__(self, draws: Tensor) -> None:
        self.draws = list(draws)

    def fresh(self) -> Tensor:
        return self.draws.pop(0)

    def normal(self, t: float, s: float) -> Tensor:
        raise AssertionError("a corrector's noise belongs to no interval")

    def entropy(self) -> list[int]:
        raise AssertionError("a corrector draws normals only")


@pytest.mark.parametrize("norm", ["sample", "batch"])
@torch.no_grad()
def test_one_move_is_the_published_formula(norm: str) -> None:
    """x + e score + sqrt(2 e) z with e = 2 a (snr |z| / |score|)^2, number by number."""
    sde = SDES["vp"]
    step = walk(sde, Karras().times(sde, 10))[4]
    t, s = (torch.tensor(at.t, dtype=torch.float64) for at in (step.a, step.b))
    x, z = torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    denoiser = GaussianDenoiser(VARIANCE)
    moved = OfNorms(0.2, 1, norm).correct(Ask(sde, denoiser), x, step, Recorded(z[None]))
    total = [float(sde.alpha(t) ** 2 * v + sde.sigma(t) ** 2) for v in VARIANCE]
    score = [[-float(row[k]) / total[k] for k in (0, 1)] for row in x]
    sizes = [sum(v**2 for v in row) ** 0.5 for row in score]
    noises = [sum(float(v) ** 2 for v in row) ** 0.5 for row in z]
    a = float((sde.alpha(t) / sde.alpha(s)) ** 2)
    for i in range(3):
        size = sizes[i] if norm == "sample" else sum(sizes) / 3
        noise = noises[i] if norm == "sample" else sum(noises) / 3
        e = 2 * a * (0.2 * noise / size) ** 2
        for k in (0, 1):
            expected = float(x[i, k]) + e * score[i][k] + (2 * e) ** 0.5 * float(z[i, k])
            assert float(moved[i, k]) == pytest.approx(expected, rel=1e-12)


def spread(solver: Any, d: int, **options: Any) -> float:
    """Standard deviation of what a solver makes of N(0, 0.25 I) in d dimensions; 0.5 is right."""
    toy = wrap(lambda x, sigma: x / (1 + 4 * sigma[:, None] ** 2), shape=(d,))
    rows = 4000 // d
    return float(toy.sample(n=rows, solver=solver, batch_size=rows, **options).x.double().std())


@pytest.mark.parametrize("d", [2, 4, 16])
def test_few_dimensions(d: int) -> None:
    """4,000 numbers: a standard deviation is known to 1.1 %, and these steps leave 3 %."""
    assert spread("predictor_corrector", d, nfe=1000) == pytest.approx(0.5, rel=0.07)
    assert spread("langevin", d, nfe=1000, solver__snr=0.3) == pytest.approx(0.5, rel=0.07)


def test_an_annealed_chain_comes_to_the_law_as_its_steps_grow() -> None:
    """Off by 15 % at 1,000 steps of the published length, and by half of that at twice as many."""
    off = [spread("langevin", 4, nfe=nfe) / 0.5 - 1 for nfe in (1000, 2000)]
    assert off[0] == pytest.approx(0.145, abs=0.04)
    assert off[1] == pytest.approx(0.07, abs=0.04)


def test_the_twin_takes_the_norms_of_two_numbers() -> None:
    """A score near 0 makes a step without bound."""
    both = PredictorCorrector(ReverseDiffusion(), OfNorms())
    assert spread(both, 2, nfe=1000, grid=Karras()) > 1
    assert spread(OfNorms(), 2, nfe=1000, grid=Karras()) > 10


@pytest.mark.parametrize(("shape", "rows", "expected"), [((255,), 3, True), ((256,), 3, False)])
def test_norms_are_of_enough_numbers(shape: tuple[int, ...], rows: int, expected: bool) -> None:
    """Below 256 numbers the ratio of norms is sigma; ``batch`` counts those of all rows."""
    score, z = torch.randn(2, rows, *shape, generator=torch.Generator().manual_seed(0))
    ratio = Langevin(snr=0.5)._ratio(score, z, 7.0)
    assert bool((ratio == 3.5).all()) is expected
    of_all = Langevin(snr=0.5, norm="batch")._ratio(score, z, 7.0)
    assert len(of_all) == 1
    assert float(of_all) != 3.5


@torch.no_grad()
def test_corrector_comes_first_and_the_last_state_is_the_predictors_mean() -> None:
    sde, ask = SDES["edm"], Ask(SDES["edm"], GaussianDenoiser(VARIANCE))
    times = Karras().times(sde, 2)
    x = torch.tensor([[5.0, -3.0]], dtype=torch.float64)
    corrector, predictor = Langevin(), ReverseDiffusion()
    found = PredictorCorrector(predictor, corrector).solve(
        ask, x, times, Seeds().batch([4], (2,), torch.float64)
    )
    noise = Seeds().batch([4], (2,), torch.float64)
    first, second = walk(sde, times)
    x = corrector.correct(ask, x, first, noise)
    x, _ = predictor.step(ask, x, first, None, noise)
    x = corrector.correct(ask, x, second, noise)
    b2 = times[1] ** 2 - times[2] ** 2
    assert torch.allclose(found, x + b2 * ask.score(x, second.a), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("predictor", "corrector", "named"),
    [
        (DoPri(), Langevin(), "solver.predictor=DoPri"),
        (Langevin(), Langevin(), "solver.predictor=Langevin"),
        (ReverseDiffusion(), ReverseDiffusion(), "solver.corrector=ReverseDiffusion"),
        (ReverseDiffusion(), DoPri(), "solver.corrector=DoPri"),
    ],
)
def test_a_predictor_steps_and_a_corrector_stays(
    predictor: Any, corrector: Any, named: str
) -> None:
    """Any other pair is refused before it is run."""
    with pytest.raises(InputError, match=named):
        PredictorCorrector(predictor, corrector)
