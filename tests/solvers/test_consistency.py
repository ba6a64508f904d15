"""Multistep consistency sampling draws the law that its function leads to; no other solver runs."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from sde_diffusion import Consistency, FewSteps, Skipped, inspect, wrap
from sde_diffusion.denoisers.closed_form import GaussianDenoiser, MixtureDenoiser
from sde_diffusion.denoisers.consistency import ConsistencyFunction, DiscreteConsistency
from sde_diffusion.denoisers.timesteps import Timesteps
from sde_diffusion.models.selftest import self_test
from sde_diffusion.process.sde import EDM, VP
from tests.refusals import refused

F64 = torch.float64
END = 0.002
VARIANCE = torch.tensor([1.0, 0.25, 0.04, 0.0], dtype=F64)
GAUSSIAN = GaussianDenoiser(VARIANCE, torch.tensor([0.5, 0.0, -0.5, 1.0], dtype=F64))
MIXTURE = MixtureDenoiser(
    torch.full((8,), 1 / 8, dtype=F64),
    torch.randint(0, 2, (8, 16), generator=torch.Generator().manual_seed(0)).double() * 2 - 1,
    torch.full((8, 16), 0.01, dtype=F64),
)


def ends(x: Tensor, sigma: Tensor) -> Tensor:
    """The consistency function of the Gaussian, exact."""
    end = torch.tensor(END, dtype=F64)
    return GAUSSIAN.flow(x.double(), sigma.double()[:, None], end).to(x)


def ends_of_mixture(x: Tensor, sigma: Tensor) -> Tensor:
    """That of the mixture, by many steps of DDIM along its flow."""
    levels = torch.linspace(float(sigma[0]) ** 0.1, END**0.1, 200, dtype=F64) ** 10
    y = x.double()
    for a, b in pairwise(levels):
        image = MIXTURE(y, a)
        y = image + b / a * (y - image)
    return y.to(x)


@pytest.mark.parametrize("nfe", [1, 2, 4])
@pytest.mark.parametrize("sde", [EDM(), VP(beta_max=25.0)])
def test_each_number_of_steps_draws_the_law(nfe: int, sde: object) -> None:
    """Mean and variance of 20,000 draws, within five standard errors."""
    n = 20_000
    model = wrap(ends, (4,), consistency=True)
    x = model.sample(n, nfe, solver="consistency", sde=sde, dtype="float64", batch_size=n).x
    variance = VARIANCE + END**2
    assert bool(((x.mean(0) - GAUSSIAN.mean).abs() < 5 * (variance / n).sqrt() + 2e-3).all())
    assert bool(((x.var(0) / variance - 1).abs() < 5 * (2 / n) ** 0.5 + 2e-3).all())


def test_one_step_is_the_function_of_the_start() -> None:
    n = torch.randn(3, 4, dtype=F64, generator=torch.Generator().manual_seed(0))
    x = wrap(ends, (4,), consistency=True).sample(
        3, 1, solver=Consistency(), x_T=n, dtype="float64"
    ).x  # fmt: skip
    assert torch.allclose(x, ends(80 * n, torch.full((3,), 80.0)), atol=1e-12)


def test_solvers_of_the_flow_and_denoisers_are_kept_apart() -> None:
    model = wrap(ends, (4,), consistency=True)
    for solver in ("unipc", "heun", "dopri", "ancestral"):
        with refused("solver:", "no denoiser", 'solver="consistency"'):
            model.sample(2, None, solver=solver)
    with refused("solver:", "is a denoiser", 'solver="unipc"'):
        wrap(lambda x, sigma: x, (4,)).sample(2, 2, solver="consistency")
    with refused("solver:", "solver=consistency"):
        model.flow()


def test_the_self_test_tells_a_denoiser_from_its_own_consistency_function() -> None:
    """One mixture asked both ways: the spread of answers at the top is .03 of the images', or 1."""
    denoiser = wrap(lambda x, sigma: MIXTURE(x.double(), sigma[0].double()).to(x), (16,))
    assert self_test(denoiser).ratio < 0.1
    for said in (False, True):  # whether its maker says so
        told = self_test(wrap(ends_of_mixture, (16,), consistency=said))
        assert told.ratio > 0.9
        assert not told.denoises
    rows = inspect(wrap(ends_of_mixture, (16,)), self_test=True)
    assert rows.undone == ["self-test"]


def test_levels_are_some_of_those_that_were_trained() -> None:
    levels = FewSteps().times(EDM(), 2)
    every = torch.linspace(80 ** (1 / 7), END ** (1 / 7), 40, dtype=F64) ** 7
    assert torch.allclose(levels, torch.stack([every[0], every[20], every[39]]))
    table = Timesteps("scaled_linear", 0.00085, 0.012)
    betas = {"betas": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    few = Skipped(betas).times(EDM(), 4)
    assert torch.allclose(few, table.sigmas[[999, 759, 499, 259, 0]])
    with refused("nfe=40", "give at most"):
        FewSteps().times(EDM(), 40)
    with refused("nfe=51", "give at most"):
        Skipped(betas).times(EDM(), 51)
    with refused("grid.original=1000", "give 1 to"):
        Skipped(betas, 1000)


@pytest.mark.parametrize("p", [ConsistencyFunction(), DiscreteConsistency()])
def test_the_function_is_the_identity_at_the_least_level(p: ConsistencyFunction) -> None:
    """Exactly, by the weights; that of latents at number 0, whose x_t is x / sqrt(1 + sigma^2)."""
    least = torch.tensor(END, dtype=F64)
    if isinstance(p, DiscreteConsistency):
        least = p.table.sigmas[0]
    assert float(p.c_out(least)) == pytest.approx(0, abs=1e-12)
    expected = 1 / (1 + float(least) ** 2) ** 0.5 if isinstance(p, DiscreteConsistency) else 1.0
    assert float(p.c_skip(least)) == pytest.approx(expected, abs=1e-12)
