"""Levels between a model's ends, then zero: their formulas, their ends, and what they refuse."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from sde_diffusion.denoisers.closed_form import GaussianDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.process.ays import AYS
from sde_diffusion.process.grids import TimeGrid
from sde_diffusion.process.sde import EDM, VP
from sde_diffusion.process.spread import Beta, Exponential, KarrasToZero, KLOptimal, Spread
from sde_diffusion.process.timesteps import ByTimestep, FlowShift
from sde_diffusion.sampling.sampler import Request, Sampler
from sde_diffusion.solvers.ddim import DDIM

STABLE = {"betas": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
LOW, HIGH = 0.03, 14.0
SPREADS: dict[str, tuple[type[Spread], Callable[[float], float]]] = {
    "karras": (KarrasToZero, lambda s: s ** (1 / 7)),
    "exponential": (Exponential, math.log),
    "beta": (Beta, lambda s: float(stats.beta.cdf((s - LOW) / (HIGH - LOW), 0.6, 0.6))),
    "kl_optimal": (KLOptimal, math.atan),
}
spreads = pytest.mark.parametrize("name", SPREADS)


def levels(grid: TimeGrid, n: int) -> Tensor:
    """n levels above zero."""
    return EDM().noise_level(grid.times(EDM(), n - 1))


@spreads
def test_levels_are_even_in_what_the_formula_is_even_in(name: str) -> None:
    """In sigma^(1/7), log sigma, the distribution function of the law, and atan sigma."""
    cls, even_in = SPREADS[name]
    found = levels(cls(sigma_min=LOW, sigma_max=HIGH), 9).tolist()
    steps = np.diff([even_in(level) for level in found])
    assert steps == pytest.approx([steps.mean()] * 8, rel=1e-7)
    assert (found[0], found[-1]) == pytest.approx((HIGH, LOW), rel=1e-12)


@spreads
def test_the_ends_are_those_of_the_model(name: str) -> None:
    """Of its denoiser, and of its table where nothing of the image is left at the first level."""
    grid = SPREADS[name][0]()
    denoiser = GaussianDenoiser(torch.tensor([1.0]))
    denoiser.sigma_min, denoiser.sigma_max = LOW, HIGH
    sampler = Sampler.build(VP(beta_max=25.0), denoiser, DDIM(), grid)
    assert (sampler.grid.sigma_min, sampler.grid.sigma_max) == (LOW, HIGH)
    table = ByTimestep({**STABLE, "zero_terminal_snr": True})
    assert math.isfinite(grid.fitted(LOW, math.inf, table).sigma_max)
    given = SPREADS[name][0](sigma_min=0.5).fitted(LOW, HIGH)
    assert (given.sigma_min, given.sigma_max) == (0.5, HIGH)


@spreads
def test_n_levels_are_n_evaluations(name: str) -> None:
    denoiser = GaussianDenoiser(torch.tensor([1.0]))
    sampler = Sampler.build(EDM(), denoiser, DDIM(), SPREADS[name][0]())
    assert sampler.sample(Request([0], 6)).nfe == 6


def comfy_simple(sigmas: list[float], n: int) -> list[float]:
    return [sigmas[-(1 + int(i * len(sigmas) / n))] for i in range(n)]


@pytest.mark.parametrize("n", [4, 7, 10, 20, 33])
def test_numbers_are_those_of_comfyui(n: int) -> None:
    """simple: every T/n-th from the end; sgm_uniform: N of N + 1 even numbers; beta: quantiles."""
    table = ByTimestep(STABLE).table
    simple = levels(ByTimestep(STABLE, "simple"), n)
    assert simple.tolist() == pytest.approx(comfy_simple(table.sigmas.tolist(), n), rel=1e-12)
    uniform = table.number(levels(ByTimestep(STABLE, "sgm_uniform"), n))
    assert uniform.tolist() == pytest.approx([999 - 999 * i / n for i in range(n)], abs=1e-6)
    beta = table.number(levels(ByTimestep(STABLE, "beta"), n))
    ppf = [stats.beta.ppf(1 - i / n, 0.6, 0.6) for i in range(n)]
    assert beta.tolist() == pytest.approx(np.rint(np.array(ppf) * 999).tolist(), abs=1e-6)


def test_numbers_are_those_of_the_models_table() -> None:
    """What betas leave to the model is its own; what they say stays."""
    brought = ByTimestep(STABLE)
    assert ByTimestep(None, "simple").fitted(0.0, 1.0, brought).sigma_max == brought.sigma_max
    own = ByTimestep({"betas": "linear"}, "simple")
    assert own.fitted(0.0, 1.0, brought) is own


@pytest.mark.parametrize("model", ["sd15", "sdxl", "svd"])
def test_ays_walks_its_list_and_lies_between_its_levels(model: str) -> None:
    grid = AYS(model)
    ten = levels(grid, 10)
    assert ten.tolist() == pytest.approx(grid.listed[:10], rel=1e-12)
    twenty = levels(grid, 20)
    assert twenty[::2].tolist() == pytest.approx(ten.tolist(), rel=1e-9)
    between = (ten[:-1] * ten[1:]).sqrt()
    assert twenty[1:-1:2].tolist() == pytest.approx(between.tolist(), rel=1e-9)


def test_ays_goes_on_from_a_level_between() -> None:
    """Even along the list from there: of ten steps each, those from its middle are half as long."""
    grid = AYS().starting_at(AYS().listed[5])
    found = levels(grid, 10)
    assert found[0] == AYS().listed[5]
    assert found[::2].tolist() == pytest.approx(AYS().listed[5:10], rel=1e-9)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Beta(alpha=0.0), r"grid\.alpha=0"),
        (lambda: KarrasToZero(rho=0.0), r"grid\.rho=0"),
        (lambda: KLOptimal(sigma_min=2.0, sigma_max=1.0), r"grid\.sigma_min=2"),
        (lambda: KLOptimal(sigma_min=20.0).fitted(LOW, HIGH), r"grid\.sigma_min=20"),
        (lambda: AYS("sd2"), r"grid\.model=sd2: choose one of sd15, sdxl, svd"),
        (
            lambda: Beta().fitted(1e-6, math.inf, FlowShift()),
            r"begins at the noise itself.*grid=flow_shift",
        ),
        (lambda: AYS().fitted(1e-6, math.inf, FlowShift()), r"begins at the noise itself"),
        (
            lambda: ByTimestep().fitted(1e-6, math.inf, FlowShift()),
            r"grid\.betas: this model is a flow",
        ),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(InputError, match=words) as refusal:
        make()
    assert "\n" not in str(refusal.value)
